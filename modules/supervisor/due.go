package supervisor

import (
	"time"

	"github.com/freshet/freshet/rollback"
)

// A disk that is full or fails for a while decides nothing: what could not be
// saved is due, and each tick tries again.

// saveDue saves what could not be saved before.
func (s *Supervisor) saveDue() {
	s.endLeft()
	s.countEnds()
	if t := s.trial; t != nil && t.due != nil {
		f := *t.due
		s.back(f.module, f.check, f.text, f.lines)
	}
}

// sayDue says once why something could not be saved.
func (s *Supervisor) sayDue(what string, err error) {
	if text := what + ": " + err.Error(); text != s.due {
		s.due = text
		s.say("%s", text)
	}
}

// layer is a trial of bases beside one of modules, and when it was first seen.
type layer struct {
	number int
	since  time.Duration
}

// layerTimes is how many gates a trial of bases beside one of modules may last:
// its engine loads, and is watched for one.
const layerTimes = 15

// stale says whether a trial of bases is watched by nobody any more: its agent
// could not save the outcome, or forgot it. Until its end no trial of modules is
// taken up or confirmed.
func (l layer) stale(st rollback.State, now time.Duration, t Times) (layer, bool) {
	if st.Layer != l.number {
		l = layer{st.Layer, now}
	}
	return l, l.number != 0 && now-l.since > layerTimes*t.Gate
}

// endStaleLayer breaks such a trial off. Its bases are in no quarantine, and an
// agent that watches it all the same confirms them as before.
func (s *Supervisor) endStaleLayer(now time.Duration) {
	st, err := s.store().Load()
	if err != nil {
		return
	}
	stale := false
	if s.layer, stale = s.layer.stale(st, now, s.Times); !stale {
		return
	}
	s.say("bases have been on trial beside modules for %s: that is broken off", now-s.layer.since)
	_, err = s.change(func(st rollback.State) (rollback.State, error) {
		if st.Layer != s.layer.number {
			return st, nil
		}
		return st.EndBases(), nil
	})
	if err != nil {
		s.say("ending a trial of bases: %v", err)
	}
}
