package durable

import (
	"slices"
	"time"
)

// RetryLeft is how long after an attempt a file that was left is due again.
const RetryLeft = time.Minute

// Left remembers which files are left as they are (see [Lasting]), so that each
// is tried again at times, and what becomes of it is logged once. Its zero value
// knows of none. Whoever shares one guards it.
type Left struct {
	files map[string]*leftFile
	back  []string // since News was called
}

type leftFile struct {
	err   error
	tried time.Time
	told  bool
}

// Note takes in what an attempt to read the file at path gave at a time.
func (l *Left) Note(path string, err error, now time.Time) {
	f := l.files[path]
	switch {
	case !Lasting(err) && f != nil:
		delete(l.files, path)
		if f.told {
			l.back = append(l.back, path)
		}
	case !Lasting(err):
	case f != nil:
		f.err, f.tried = err, now
	default:
		if l.files == nil {
			l.files = map[string]*leftFile{}
		}
		l.files[path] = &leftFile{err: err, tried: now}
	}
}

// Due says whether the file at path was left, and is to be tried again. A clock
// that was set back delays nothing.
func (l *Left) Due(path string, now time.Time) bool {
	f := l.files[path]
	return f != nil && (now.Before(f.tried) || now.Sub(f.tried) >= RetryLeft)
}

// Any says whether any file is left.
func (l *Left) Any() bool { return len(l.files) > 0 }

// News gives, once each, the paths of the files that were left since it was
// called last, with the reason, and of those that can be used again.
func (l *Left) News() (left map[string]error, back []string) {
	left = map[string]error{}
	for path, f := range l.files {
		if !f.told {
			f.told, left[path] = true, f.err
		}
	}
	back, l.back = l.back, nil
	return left, slices.Compact(slices.Sorted(slices.Values(back)))
}
