package durable_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

func TestAFileThatIsLeftIsToldOnceAndTriedEachMinute(t *testing.T) {
	var l durable.Left
	at := time.Unix(1000, 0)
	unread := &durable.UnreadError{Path: "f", Err: unix.EIO}
	news := func() string {
		left, back := l.News()
		var all []string
		for path := range left {
			all = append(all, "left "+path)
		}
		for _, path := range back {
			all = append(all, "back "+path)
		}
		return strings.Join(all, ", ")
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		err   error
		due   bool // before it
		news  string
	}{
		{"it is read", 0, nil, false, ""},
		{"it is not given", 0, unread, false, "left f"},
		{"nor a moment later", time.Second, unread, false, ""},
		{"nor a minute later", time.Minute, &durable.NewerError{Path: "f"}, true, ""},
		{"nor after the clock went back", -time.Hour, unread, true, ""},
		{"it is there no more", time.Minute, fs.ErrNotExist, true, "back f"},
		{"it is damaged", time.Hour, errors.New("damaged"), false, ""},
		{"it is not given again", 0, unread, false, "left f"},
		{"it is read at last", 0, nil, false, "back f"},
	} {
		at = at.Add(step.after)
		if due := l.Due("f", at); due != step.due {
			t.Errorf("%s: due %v", step.name, due)
		}
		l.Note("f", step.err, at)
		if l.Any() != durable.Lasting(step.err) {
			t.Errorf("%s: left %v", step.name, l.Any())
		}
		if got := news(); got != step.news {
			t.Errorf("%s: %q is told", step.name, got)
		}
	}
	l.Note("f", unread, at)
	l.Note("f", nil, at)
	if got := news(); got != "" {
		t.Errorf("what nobody was told of is told: %q", got)
	}
}
