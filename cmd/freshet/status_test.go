package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fine is a status with nothing to say.
func fine() api.Status {
	return api.Status{
		Agent: true, State: "up to date", Now: noon,
		Bases:  []api.BaseStatus{{Name: "hosts", Version: 3, State: "up to date", Age: 22}},
		Update: api.Task{Enabled: true},
	}
}

func TestCheckWarnsOfWhatKeepsBasesFromBeingFresh(t *testing.T) {
	rows := []struct {
		name   string
		change func(*api.Status)
		code   int
		line   string
	}{
		{"nothing is wrong", func(*api.Status) {}, 0, "FRESHET OK - up to date | hosts=22s"},
		{"no agent runs", func(st *api.Status) { st.Agent = false }, 1, "FRESHET WARNING - up to date (no agent runs) | hosts=22s"},
		{"the update is off", func(st *api.Status) { st.Update.Enabled = false }, 1, "FRESHET WARNING - up to date (task 6 (Update) is off) | hosts=22s"},
		{"the settings were refused", func(st *api.Status) { st.Refused = "line 3" }, 1,
			"FRESHET WARNING - up to date (the settings file is not in force: line 3) | hosts=22s"},
		{"a wanted base is not installed", func(st *api.Status) {
			st.Missing, st.Why = []api.Missing{{Name: "hots"}}, "not installed: hots"
		}, 1, "FRESHET WARNING - up to date: not installed: hots | hosts=22s"},
		{"a delivery failed, with a bar in its error", func(st *api.Status) {
			st.Engines = []api.EngineError{{Base: "hosts", Step: "deliver", Error: "a|b", At: noon}}
		}, 1, "FRESHET WARNING - up to date (engine of hosts: deliver failed at 2026-11-22 12:00 UTC: a/b) | hosts=22s"},
		{"a base is out of date", func(st *api.Status) {
			st.State, st.Why, st.Bases[0].Age = "out of date", "the last update failed", 300_000
		}, 1, "FRESHET WARNING - out of date: the last update failed | hosts=300000s"},
		{"a base is totally out of date", func(st *api.Status) { st.State, st.Bases[0].Age = "totally out of date", 700_000 }, 2,
			"FRESHET CRITICAL - totally out of date | hosts=700000s"},
		{"out of date and no agent stays a warning", func(st *api.Status) { st.State, st.Agent = "out of date", false }, 1,
			"FRESHET WARNING - out of date (no agent runs) | hosts=22s"},
		{"a state that is not known", func(st *api.Status) { st.State = "rotten" }, 3, "FRESHET UNKNOWN - rotten | hosts=22s"},
		{"two bases", func(st *api.Status) { st.Bases = append(st.Bases, api.BaseStatus{Name: "urls", Age: -3}) }, 0,
			"FRESHET OK - up to date | hosts=22s urls=-3s"},
		{"no base at all is worse than a warning", func(st *api.Status) {
			st.State, st.Bases, st.Update.Enabled = "without databases", nil, false
		}, 2, "FRESHET CRITICAL - without databases (task 6 (Update) is off)"},
	}
	for _, row := range rows {
		st := fine()
		row.change(&st)
		var out strings.Builder
		err := printCheck(&out, st, nil)
		var code exit
		if errors.As(err, &code); int(code) != row.code || out.String() != row.line+"\n" {
			t.Errorf("%s: exit %d, %q", row.name, code, out.String())
		}
	}
}

func TestCheckIsUnknownWhereTheStatusCannotBeRead(t *testing.T) {
	var out strings.Builder
	err := printCheck(&out, api.Status{}, errors.New("no\nagent | here"))
	var code exit
	if errors.As(err, &code); code != 3 || out.String() != "FRESHET UNKNOWN - no agent / here\n" {
		t.Errorf("exit %d, %q", code, out.String())
	}
}

func TestStatusShowsWhatIsNotInstalled(t *testing.T) {
	st := fine()
	st.Missing = []api.Missing{{Name: "hots", Error: "the repository has no base \"hots\"\x1b[2J"}, {Name: "urls"}}
	st.Refused = "line 3"
	var out strings.Builder
	printStatus(&out, st)
	for _, want := range []string{
		"bases are up to date, but not all are installed\n",
		"hots   -        -                     -     not installed: the repository has no base \"hots\"�[2J\n",
		"urls   -        -                     -     not installed\n",
		"the settings file is not in force: line 3\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestTransferIsLabelledWithItsRun(t *testing.T) {
	for name, row := range map[string]struct {
		at   time.Time
		want string
	}{
		"the last run's own":             {noon, "  fetched:    18 MB instead of 30 MB (60 %)\n"},
		"an earlier run's":               {noon.Add(-time.Hour), "last change:  2026-11-22 11:00 UTC: 18 MB instead of 30 MB (60 %)\n"},
		"one of before times were noted": {time.Time{}, "last change:  18 MB instead of 30 MB (60 %)\n"},
	} {
		st := fine()
		st.Update.Last = &api.Result{Outcome: api.NothingNew, Ended: noon}
		st.Update.LastBytes = &api.Transfer{Bytes: 18e6, Full: 30e6, At: row.at}
		var out strings.Builder
		printStatus(&out, st)
		if !strings.Contains(out.String(), row.want) {
			t.Errorf("%s: no %q in\n%s", name, row.want, out.String())
		}
	}
}

func TestStatusSaysTheRefusalFirst(t *testing.T) {
	st := fine()
	st.State, st.Bases = "without databases", nil
	st.Refused, st.Why = "line 3", "nothing can be updated before the settings file is mended"
	if all := notes(st); len(all) != 2 || all[0] != "the settings file is not in force: line 3" || all[1] != st.Why {
		t.Errorf("%q", all)
	}
}
