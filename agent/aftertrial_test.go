package agent_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules/supervisor"
)

// afterTrial is an endpoint on which a version of the agent that is not this one
// was on trial: edits are what the operator did meanwhile, and which of them that
// version accepted.
type afterTrial struct {
	*world
	to   string // the engine's folder
	file string
}

func newAfterTrial(t *testing.T) *afterTrial {
	t.Helper()
	w, to, _ := delivered(t)
	return &afterTrial{world: w, to: to, file: filepath.Join(w.dir, "freshet.yaml")}
}

func (a *afterTrial) read() string {
	a.t.Helper()
	data, err := os.ReadFile(a.file)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(data)
}

// accepts has the other version accept what the file says, as it keeps it.
func (a *afterTrial) accepts(text string) {
	a.t.Helper()
	a.write("freshet.yaml", text)
	var h struct {
		Format int              `json:"format"`
		Texts  []map[string]any `json:"texts"`
	}
	data, err := os.ReadFile(a.stateDir() + "/settings-accepted.json")
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	h.Texts = append([]map[string]any{{"by": "2.0.0", "at": "2026-01-01T00:00:00Z", "text": []byte(text)}}, h.Texts...)
	if data, err = json.Marshal(h); err != nil {
		a.t.Fatal(err)
	}
	a.write("state/settings-accepted.json", string(data))
	a.write("state/settings.yaml", text)
}

// ends hands over what the file was before the trial.
func (a *afterTrial) ends(before string, missing bool) {
	a.t.Helper()
	k := supervisor.KeptSettings{For: "agent 2.0.0", Data: []byte(before), Missing: missing, Mode: 0o640, UID: os.Getuid(), GID: os.Getgid()}
	data, err := json.Marshal(k)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write("state/settings-after-trial.json", string(data))
}

func (a *afterTrial) settled() bool {
	_, err := os.Lstat(a.stateDir() + "/settings-after-trial.json")
	return err != nil
}

// names lists what lies in a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// TestAfterATrialTheEnginesFolderIsAsTheOperatorsSettingsSay goes through what an
// operator does before, in and after a trial that is rolled back.
func TestAfterATrialTheEnginesFolderIsAsTheOperatorsSettingsSay(t *testing.T) {
	for _, row := range []struct {
		name  string
		edits []string // of the trial, in their order; "": the file is removed; %s is the settings without bases
		file  int      // which of them is in force in the end; -1: that of before the trial
		here  bool     // whether the delivery is there
		aside bool     // whether the last one lies beside
	}{
		{"no edit", nil, -1, true, false},
		{"one that both accept", []string{"%supdate: {every: 3h}\n" + bases}, 0, true, false},
		{"one that both accept and that drops the delivery", []string{"%sbases: [{name: hosts}]\n"}, 0, false, false},
		{"one that the other alone understands", []string{"%s" + bases + "newer: true\n"}, -1, true, true},
		{"one that the other alone understands, and that drops the delivery", []string{"%snewer: true\nbases: [{name: hosts}]\n"}, -1, true, true},
		{"three in a row, the last two for the other alone", []string{"%supdate: {every: 3h}\n" + bases, "%snewer: 1\n", "%snewer: 2\n"}, 0, true, true},
		{"a first for the other alone, a last for both", []string{"%snewer: 1\n", "%supdate: {every: 3h}\n" + bases}, 1, true, false},
		{"the file is removed", []string{""}, -1, true, false},
	} {
		for _, when := range []string{"before it starts", "while it runs"} {
			t.Run(row.name+", handed over "+when, func(t *testing.T) {
				a := newAfterTrial(t)
				before := a.read()
				plain, _, _ := strings.Cut(before, "bases:")
				fill := func(edit string) string {
					return strings.ReplaceAll(strings.ReplaceAll(edit, "%s", plain), bases, strings.TrimPrefix(before, plain))
				}
				var s *service
				if when == "while it runs" {
					s = a.start()
				}
				for i, edit := range row.edits {
					switch text := fill(edit); {
					case edit == "":
						if err := os.Remove(a.file); err != nil {
							t.Fatal(err)
						}
					case s != nil && !strings.Contains(edit, "newer"):
						n := s.events(event.SettingsLoaded)
						a.accepts(text)
						a.eventually("this version sees the edit", func() bool { return s.events(event.SettingsLoaded) > n })
					case s != nil && i == 0:
						a.accepts(text)
						a.eventually("this version refuses the edit", func() bool { return s.status().Refused != "" })
					default:
						a.accepts(text)
					}
				}
				a.ends(before, false)
				if s == nil {
					s = a.start()
				}
				a.eventually("it is settled", a.settled)
				want := before
				if row.file >= 0 {
					want = fill(row.edits[row.file])
				}
				a.eventually("the file is the one in force", func() bool { return a.read() == want && s.status().Refused == "" })
				if got := names(t, a.to) == "hosts.txt"; got != row.here {
					t.Errorf("the engine's folder has %q", names(t, a.to))
				}
				left, _ := filepath.Glob(a.file + ".edited-during-agent-2.0.0")
				if len(left) > 0 != row.aside {
					t.Errorf("beside the file lies %q", left)
				}
				back := row.aside || len(row.edits) == 1 && row.edits[0] == ""
				if n := s.events(event.SettingsBack); n > 0 != back {
					t.Errorf("SettingsBack was told %d times", n)
				}
			})
		}
	}
}

// bases stands for the bases of before the trial, with their delivery.
const bases = "BASES\n"

// TestWhatATrialBroughtIsNotTakenAwayBeforeTheOperatorsNextEdit: the trial's
// version delivered a base that only its settings name.
func TestWhatATrialBroughtIsNotTakenAwayBeforeTheOperatorsNextEdit(t *testing.T) {
	a := newAfterTrial(t)
	delivering := a.read()
	without := strings.Split(delivering, "bases:")[0] + "bases: [{name: other}]\n"
	a.accepts(without) // before the trial
	a.accepts(delivering + "newer: true\n")
	a.ends(without, false)
	s := a.start().settled()
	for _, when := range []string{"at once", "after an update", "after another start"} {
		switch when {
		case "after an update":
			s.run(api.TaskUpdate)
		case "after another start":
			s.stop()
			s = a.start().settled()
		}
		if a.read() != without || names(t, a.to) != "hosts.txt" || s.events(event.DeliveryTakenBack) != 0 {
			t.Fatalf("%s the engine's folder has %q, and the settings are %s", when, names(t, a.to), a.read())
		}
		if st := s.status(); len(st.Bases) != 1 {
			t.Fatalf("%s the bases are %+v", when, st.Bases)
		}
	}
	a.write("freshet.yaml", without+"update: {every: 5h}\n")
	a.eventually("the edit is in force", func() bool { return time.Duration(s.update().Every) == 5*time.Hour })
	s.run(api.TaskUpdate)
	if got := names(t, a.to); got != "" {
		t.Errorf("after the operator's edit the engine's folder has %q", got)
	}
}

func TestAFileThatWasWrongBeforeTheTrialIsLeftToItsOperator(t *testing.T) {
	a := newAfterTrial(t)
	a.write("freshet.yaml", "version: 1\nbases: 7\n")
	a.ends("version: 1\nbases: 7\n", false)
	s := a.start()
	a.eventually("it is settled", a.settled)
	if a.read() != "version: 1\nbases: 7\n" || s.status().Refused == "" || names(t, a.to) != "hosts.txt" {
		t.Errorf("the file is %q, refused %q, delivered %q", a.read(), s.status().Refused, names(t, a.to))
	}
}

func TestAFileThatTheTrialMadeAndThisVersionRefusesGoesAside(t *testing.T) {
	a := newAfterTrial(t)
	os.Remove(a.stateDir() + "/settings-accepted.json")
	a.write("state/settings.yaml", "newer: true\n")
	a.write("freshet.yaml", "newer: true\n")
	a.ends("", true)
	s := a.start()
	a.eventually("it is settled", a.settled)
	if _, err := os.Lstat(a.file); err == nil || s.events(event.SettingsBack) != 1 {
		t.Errorf("it is there still: %v", err)
	}
	if _, err := os.Lstat(a.file + ".edited-during-agent-2.0.0"); err != nil || names(t, a.to) != "hosts.txt" {
		t.Errorf("%v, delivered %q", err, names(t, a.to))
	}
}

func TestASettingsFileBehindALinkIsBroughtBackBehindIt(t *testing.T) {
	a := newAfterTrial(t)
	before := a.read()
	real := filepath.Join(a.dir, "managed.yaml")
	if err := os.Rename(a.file, real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, a.file); err != nil {
		t.Fatal(err)
	}
	a.accepts(before + "newer: true\n")
	a.ends(before, false)
	a.start()
	a.eventually("it is settled", a.settled)
	st, err := os.Lstat(a.file)
	if err != nil || st.Mode().Type() != os.ModeSymlink || a.read() != before {
		t.Errorf("the file is %v, %v: %q", st.Mode(), err, a.read())
	}
	if st, err = os.Stat(a.file); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v, %v", st.Mode(), err)
	}
}

// TestTheVersionThatWasTriedSettlesNothing: it may live for a moment longer than
// its trial.
func TestTheVersionThatWasTriedSettlesNothing(t *testing.T) {
	a := newAfterTrial(t)
	before := a.read()
	a.ends(before, false)
	tried := a.core()
	tried.Version = "2.0.0"
	s := a.startOf(tried).settled()
	s.never("it is settled", a.settled)
	a.write("freshet.yaml", before+"newer: true\n")
	a.eventually("it looks at the edit", func() bool { return s.status().Refused != "" })
	if a.settled() || a.read() != before+"newer: true\n" {
		t.Error("it settled the end of its own trial")
	}
}

func TestOfManyAcceptedSettingsTheNewestOfEachVersionStays(t *testing.T) {
	a := newAfterTrial(t)
	before := a.read()
	for i := range 12 {
		a.accepts(fmt.Sprintf("%snewer: %d\n", before, i))
	}
	a.ends(before, false)
	s := a.start().settled()
	if got := a.read(); got != before || s.status().Refused != "" {
		t.Errorf("in force is %s", got)
	}
	a.write("freshet.yaml", before+"update: {every: 5h}\n")
	a.eventually("the edit is in force", func() bool { return time.Duration(s.update().Every) == 5*time.Hour })
	var h struct{ Texts []struct{ By string } }
	data, err := os.ReadFile(a.stateDir() + "/settings-accepted.json")
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil || len(h.Texts) < 8 || len(h.Texts) > 12 {
		t.Errorf("%d are kept, %v", len(h.Texts), err)
	}
}
