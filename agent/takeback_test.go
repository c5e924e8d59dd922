package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// delivered is a world whose base is in an engine's folder, at "hosts.txt".
func delivered(t *testing.T) (w *world, to, deliver string) {
	t.Helper()
	w = newWorld(t)
	w.publish("a.example")
	to = filepath.Join(w.dir, "engine")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	deliver = fmt.Sprintf("bases:\n  - name: hosts\n    deliver: {to: %s}\n", to)
	w.settings(deliver)
	s := w.start().settled()
	if !w.inFolder(to) {
		t.Fatalf("not delivered: %+v", s.status())
	}
	s.stop()
	return w, to, deliver
}

func (w *world) inFolder(to string) bool {
	w.t.Helper()
	there, err := os.ReadDir(to)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(there) > 0
}

func TestWhatTheSettingsNoLongerDeliverIsTakenBack(t *testing.T) {
	rows := map[string]string{
		"the delivery is dropped": "bases:\n  - name: hosts\n",
		"the base is dropped":     "bases:\n  - name: other\n",
	}
	for name, without := range rows {
		t.Run(name+" while no update runs", func(t *testing.T) {
			w, to, _ := delivered(t)
			s := w.start().settled()
			off := false
			s.change(http.MethodPatch, fmt.Sprintf("/v1/tasks/%d", api.TaskUpdate), api.TaskChange{Enabled: &off})
			w.settings(without)
			w.eventually("the files go", func() bool { return !w.inFolder(to) && s.events(event.DeliveryTakenBack) == 1 })
		})
		t.Run(name+" before a start", func(t *testing.T) {
			w, to, _ := delivered(t)
			w.settings(without)
			s := w.start()
			if w.inFolder(to) || s.events(event.DeliveryTakenBack) != 1 {
				t.Error("the files are still there")
			}
		})
	}
	t.Run("but for a file that was changed, of which an event tells", func(t *testing.T) {
		w, to, _ := delivered(t)
		file := filepath.Join(to, "hosts.txt")
		if err := os.Remove(file); err != nil { // it may share its content with the base
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("own\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		w.settings("bases:\n  - name: hosts\n")
		s := w.start()
		if !w.inFolder(to) || s.events(event.DeliveryLeft) != 1 || s.events(event.DeliveryTakenBack) != 0 {
			t.Error("the file is gone, or no event tells that it stays")
		}
	})
}

// TestNothingIsTakenBackForWantOfSettings: a file that is missing or wrong
// names no delivery, which is no wish.
func TestNothingIsTakenBackForWantOfSettings(t *testing.T) {
	w, to, deliver := delivered(t)
	for name, change := range map[string]func(){
		"the file is wrong":   func() { w.write("freshet.yaml", "version: 1\nbases: 7\n") },
		"the file is missing": func() { os.Remove(filepath.Join(w.dir, "freshet.yaml")) },
		"the file is missing, and nothing was accepted before": func() {
			os.Remove(filepath.Join(w.dir, "freshet.yaml"))
			os.Remove(filepath.Join(w.stateDir(), "settings.yaml"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.settings(deliver)
			w.start().settled().stop()
			change()
			s := w.start().settled()
			defer s.stop()
			if !w.inFolder(to) || s.events(event.DeliveryTakenBack) != 0 {
				t.Error("the files were taken back")
			}
		})
	}
}
