package publish

import (
	"path"
	"slices"
	"strings"
)

// never are the folders of version control: what was once in a file is still in
// them, and no engine reads them.
var never = []string{".git", ".hg", ".svn", ".bzr"}

// selection says which files of a folder are published. A pattern is one of
// path.Match: with a slash it is held against the path from the folder's root, or
// the beginning of it; without one against each part of the path.
type selection struct {
	include, exclude []string // none: all, none
}

func (s selection) check() error {
	for _, p := range slices.Concat(s.include, s.exclude) {
		if _, err := path.Match(p, "x"); err != nil || p == "" {
			return refuse("* is any part of a name, ? one character, [a-z] one of several", "%q is no pattern of file names", p)
		}
	}
	return nil
}

// skips says what is left out, see bases.NewImageOf.
func (s selection) skips(name string, folder bool) bool {
	if slices.Contains(never, path.Base(name)) || matches(s.exclude, name) {
		return true
	}
	return !folder && len(s.include) > 0 && !matches(s.include, name)
}

func matches(patterns []string, name string) bool {
	parts := strings.Split(name, "/")
	return slices.ContainsFunc(patterns, func(p string) bool {
		depth := strings.Count(strings.TrimPrefix(p, "/"), "/")
		if !strings.Contains(p, "/") {
			return slices.ContainsFunc(parts, func(part string) bool { return match(p, part) })
		}
		return depth < len(parts) && match(strings.TrimPrefix(p, "/"), strings.Join(parts[:depth+1], "/"))
	})
}

func match(pattern, name string) bool {
	ok, _ := path.Match(pattern, name) // check has refused what is no pattern
	return ok
}
