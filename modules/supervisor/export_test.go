package supervisor

import (
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Backoff is backoff for tests from outside.
type Backoff struct{ b backoff }

func (b Backoff) Failed(dir string, now, worked time.Duration, t Times) Backoff {
	return Backoff{b.b.failed(dir, now, worked, t)}
}
func (b Backoff) Waits(dir string, now time.Duration) bool { return b.b.waits(dir, now) }
func (b Backoff) Pause() time.Duration                     { return b.b.pause }

// ReadsOwn has a supervisor that does not run read each file of its own once and
// write what it would write then: events, the settings before a trial that was
// rolled back, the mark of a trial.
func (s *Supervisor) ReadsOwn() (waiting int, support string) {
	s.loadPending()
	s.tell(event.StateDamaged, map[string]string{"error": "of a test"})
	s.settleSettings(view{State: rollback.State{Good: 1}})
	return len(s.pending), s.readMark().Support
}
