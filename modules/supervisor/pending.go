package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/freshet/freshet/internal/event"
)

// The log of events has one writer, the agent. What the supervisor has to tell
// waits in a file until one has written it down.

const maxPending = 100

func (s *Supervisor) pendingPath() string { return filepath.Join(s.Dir, "supervisor-events.json") }

// loadPending takes up the events that wait on the disk. What the disk does not
// give now, or a newer version wrote, stays there until it can be read.
func (s *Supervisor) loadPending() {
	var waiting []event.Event
	err := s.Disk.ReadJSON(s.pendingPath(), maxFile, ownFormat, &waiting)
	s.left.Note(s.pendingPath(), err, s.Clock.Now())
	left, _ := s.left.News()
	for _, err := range left {
		s.say("events that wait: %v", err)
	}
	if err == nil {
		s.pending = append(s.pending, waiting...)
		s.pending = s.pending[max(0, len(s.pending)-maxPending):]
	}
}

func (s *Supervisor) savePending() {
	if s.left.Any() {
		if s.loadPending(); s.left.Any() {
			return
		}
	}
	if len(s.pending) == 0 {
		os.Remove(s.pendingPath()) // what is told twice is no harm
		return
	}
	data, err := json.Marshal(s.pending)
	if err == nil {
		err = s.Disk.WriteFile(s.pendingPath(), data, 0o644)
	}
	if err != nil {
		s.say("events wait in memory alone: %v", err)
	}
}

// tell logs an event: at once here, in the log of events as soon as an agent
// serves.
func (s *Supervisor) tell(code event.Code, fields map[string]string) {
	s.tellEvent(event.New(s.Clock.Now(), code, fields))
}

func (s *Supervisor) tellEvent(e event.Event) {
	s.say("%s: %s", e.Code, e.Text)
	if lines := e.Fields["lines"]; lines != "" {
		s.say("its last lines: %s", strings.ReplaceAll(lines, "\n", " | "))
	}
	if e.Hint != "" {
		s.say("hint: %s", e.Hint)
	}
	s.pending = append(s.pending, e)
	s.pending = s.pending[max(0, len(s.pending)-maxPending):]
	s.savePending()
	s.sendPending()
}

// sendPending gives the agent the oldest event that waits.
func (s *Supervisor) sendPending() {
	c := s.agent
	if s.sending || len(s.pending) == 0 || c == nil || c.stage != serves {
		return
	}
	s.sending = true
	e := s.pending[0]
	go func() {
		ctx, stop := context.WithTimeout(context.Background(), sendTime)
		defer stop()
		_, err := c.line.ask(ctx, Message{Do: doTell, Event: &e})
		s.post(func() {
			s.sending = false
			if err != nil {
				return
			}
			if len(s.pending) > 0 {
				s.pending = s.pending[1:]
				s.savePending()
			}
			s.sendPending()
		})
	}()
}

const (
	maxFile   = 4 << 20 // bytes that are read of each of the supervisor's own files
	ownFormat = 1       // the newest of them that this version reads
)

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
