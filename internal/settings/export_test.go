package settings

import (
	"context"

	"github.com/fsnotify/fsnotify"
	"go.yaml.in/yaml/v3"
)

// Concerns says whether a watch of path that is aimed at a folder looks at the
// file after an event.
func Concerns(path, aimed string, e fsnotify.Event) bool {
	return (&watcher{path: path, aimed: []aim{{aimed, path}}}).concerns(e)
}

// WatchByPoll is Watch where the kernel has no watch left.
func WatchByPoll(ctx context.Context, path string, changed func(*Settings, []byte, error)) error {
	w := &watcher{path: path, named: path, changed: changed, every: poll}
	w.read()
	return w.run(ctx)
}

// Steps is how many steps there are.
func Steps() int { return len(steps()) }

// Lift is what step i makes of a file.
func Lift(data []byte, i int) ([]byte, error) { return LiftBy(data, steps()[i]) }

// LiftBy is what a step makes of a file of version 1.
func LiftBy(data []byte, by func(*yaml.Node) (*yaml.Node, error)) ([]byte, error) {
	d := &decoder{file: "settings"}
	doc := d.document(data)
	if doc == nil {
		return nil, d.err()
	}
	doc, err := migrate("settings", doc, 1, []step{by})
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(doc)
}
