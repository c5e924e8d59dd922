package supervisor

import "time"

// Backoff is backoff for tests from outside.
type Backoff struct{ b backoff }

func (b Backoff) Failed(dir string, now, worked time.Duration, t Times) Backoff {
	return Backoff{b.b.failed(dir, now, worked, t)}
}
func (b Backoff) Waits(dir string, now time.Duration) bool { return b.b.waits(dir, now) }
func (b Backoff) Pause() time.Duration                     { return b.b.pause }
