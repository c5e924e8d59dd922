package supervisor

import "github.com/freshet/freshet/rollback"

// A disk that is full or fails for a while decides nothing: what could not be
// saved is due, and each tick tries again.

// sayUnsaved says once why something could not be saved.
func (s *Supervisor) sayUnsaved(what string, err error) {
	if text := what + ": " + err.Error(); text != s.unsaved {
		s.unsaved = text
		s.say("%s", text)
	}
}

// breakOffLayer ends a trial of bases that nobody watches. Its bases are in no
// quarantine, and an agent that watches it all the same confirms them as before.
func (s *Supervisor) breakOffLayer() {
	stale := s.at.layer
	s.say("bases have been on trial beside modules for %s: that is broken off", s.now()-stale.since)
	_, err := s.change(func(st rollback.State) (rollback.State, error) {
		if st.Layer != stale.number {
			return st, nil
		}
		return st.EndBases(), nil
	})
	if err != nil {
		s.sayUnsaved("ending a trial of bases", err)
	}
}
