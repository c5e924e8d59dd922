package supervisor_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// A machine sleeps in the middle of a trial: the agent, which could not beat
// meanwhile, does not hang, and is not confirmed by the time that it slept.
func TestASleepInATrialNeitherCondemnsNorConfirms(t *testing.T) {
	times := quick
	times.Soak = time.Hour
	w := newWorld(t, times)
	w.install()
	w.change(w.slot("2.0.0", ""), false)
	asked := func() int {
		data, _ := os.ReadFile(w.dir + "/asked")
		return strings.Count(string(data), "2.0.0\n")
	}
	w.until("it is observed", func() bool { return asked() >= 2 })
	agent := w.running("agent")
	w.write(w.dir+"/slept", "8h")
	was := asked()
	w.until("it is observed after the sleep", func() bool { return asked() >= was+5 })
	st, err := w.store.Load()
	if err != nil || st.Current != st.Trial || st.BadEnds > 0 || len(st.Quarantine) > 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if now := w.running("agent"); now != agent {
		t.Errorf("process %d is in the place of %d", now, agent)
	}
}
