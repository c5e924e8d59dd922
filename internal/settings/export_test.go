package settings

import "github.com/fsnotify/fsnotify"

// Concerns says whether a watch of path that is aimed at a folder looks at the
// file after an event.
func Concerns(path, aimed string, e fsnotify.Event) bool {
	return (&watcher{path: path, aimed: aimed}).concerns(e)
}
