package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/publish"
)

// years is an endpoint and its publisher, on one clock.
type years struct {
	*endpoint
	keys []string // --keys for each medium
}

// at sets the clock of both to so long ago.
func (y *years) at(ago time.Duration) {
	y.t.Helper()
	y.write("clock", (-ago).String()+" synchronised")
}

// command has settings for each state, and the clock.
func (y *years) command(state, name string, args ...string) *exec.Cmd {
	c := y.endpoint.command(state, "", name, args...)
	c.Env = append(c.Env, "FRESHET_TEST_CLOCK="+filepath.Join(y.dir, "clock"),
		"FRESHET_CONFIG="+filepath.Join(y.dir, state+"-etc", "freshet.yaml"))
	return c
}

func (y *years) publisher(args ...string) string {
	y.t.Helper()
	return y.run(y.command("state", "freshet-publish-lab", append(args, y.keys...)...))
}

// freshet runs a command on a state, and gives what it prints and its error.
func (y *years) freshet(state string, args ...string) (string, error) {
	out, err := y.command(state, "freshet-lab", args...).CombinedOutput()
	return string(out), err
}

// root is the number of the newest root.
func (y *years) root() int {
	all, _ := filepath.Glob(filepath.Join(y.repo, "metadata", "*.root.json"))
	return len(all)
}

// replaceOfflineKey replaces the oldest key of a role that has several, and
// destroys it.
func (y *years) replaceOfflineKey(role string) {
	y.t.Helper()
	var all []publish.RoleKeys
	if err := json.Unmarshal([]byte(y.publisher("key", "list", y.repo, "--json")), &all); err != nil {
		y.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(r publish.RoleKeys) bool { return r.Role == role })
	old := slices.MinFunc(all[i].Keys, func(a, b publish.HeldKey) int {
		return modTime(y.t, a.File).Compare(modTime(y.t, b.File))
	})
	y.publisher("key", "replace", y.repo, old.ID)
	if err := os.Remove(old.File); err != nil {
		y.t.Fatal(err)
	}
}

func modTime(t *testing.T, path string) time.Time {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime()
}

// aged is an agent that was enrolled two years ago, updated once and was then
// switched off, and its publisher's two years since: a new root every month and
// with every key, until no key of the first root is left.
func aged(t *testing.T) *years {
	t.Helper()
	const day = 24 * time.Hour
	e := newEndpoint(t)
	y := &years{endpoint: e, keys: []string{"--keys", filepath.Join(e.dir, "keys")}}
	for _, made := range []string{e.repo, filepath.Join(e.dir, "keys")} { // on today's clock
		if err := os.RemoveAll(made); err != nil {
			t.Fatal(err)
		}
	}
	y.at(730 * day)
	y.publisher("init", y.repo)
	y.publisher("base", y.repo, "hosts", y.write("hosts.txt", content(1)))
	if err := os.Mkdir(filepath.Join(y.dir, "state-etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	y.write("state-etc/freshet.yaml", fmt.Sprintf("version: 1\nroot: %s/state-etc/root.json\nupdate: {random_delay: 0s}\nlog: {to: stderr}\n", y.dir))
	given := filepath.Join(y.dir, "given.json")
	copyFile(t, filepath.Join(y.repo, "metadata", "1.root.json"), given)
	if out, err := y.freshet("state", "enroll", y.url, "--root", given); err != nil || y.installed("state") != content(1) {
		t.Fatalf("enrolling: %v\n%s", err, out)
	}
	for month := range 23 {
		y.at(time.Duration(700-30*month) * day)
		y.publisher("sign", y.repo, "root")
		switch month % 4 {
		case 0:
			y.replaceOfflineKey("root")
		case 1:
			y.replaceOfflineKey("targets")
			y.publisher("sign", y.repo, "targets")
		case 2:
			y.publisher("key", "replace", y.repo, "timestamp", "snapshot", "bases")
		case 3:
			y.publisher("sign", y.repo, "modules")
		}
	}
	y.at(0)
	y.publisher("sign", y.repo, "targets")
	y.publisher("sign", y.repo, "modules")
	y.publisher("base", y.repo, "hosts", y.write("hosts.txt", content(2)))
	return y
}

// copyState makes another endpoint that was switched off at the same time.
func (y *years) copyState(state string) {
	y.t.Helper()
	for _, part := range []string{"", "-etc"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(y.dir, "state"+part), filepath.Join(y.dir, state+part)).CombinedOutput(); err != nil {
			y.t.Fatalf("%v: %s", err, out)
		}
	}
}

// lose takes roots from the mirror; what it gives puts them back.
func (y *years) lose(from, to int) func() {
	move := func(suffix, newSuffix string) {
		for n := from; n <= to; n++ {
			path := filepath.Join(y.repo, "metadata", fmt.Sprintf("%d.root.json", n))
			if err := os.Rename(path+suffix, path+newSuffix); err != nil {
				y.t.Fatal(err)
			}
		}
	}
	move("", ".away")
	return func() { move(".away", "") }
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTwoYearsOff switches an agent on again after two years: it goes through
// every root and updates. Where there is no way, it says what to do, and that helps.
func TestTwoYearsOff(t *testing.T) {
	t.Parallel()
	y := aged(t)
	first, newest := filepath.Join(y.repo, "metadata", "1.root.json"), y.root()
	if newest < 36 {
		t.Fatalf("only %d roots", newest)
	}
	shares, err := exec.Command("sh", "-c", fmt.Sprintf(`grep -o '"public":"[0-9a-f]*"' %s | sort >%s/a; grep -o '"public":"[0-9a-f]*"' %s/metadata/%d.root.json | sort >%s/b; comm -12 %s/a %s/b`,
		first, y.dir, y.repo, newest, y.dir, y.dir, y.dir)).Output()
	if err != nil || len(shares) > 0 {
		t.Fatalf("keys of the first root are in the newest: %v\n%s", err, shares)
	}

	rows := map[string]struct {
		spoil func() func() // nil: nothing is missing; gives what puts it back
		says  []string
	}{
		"every root is there": {},
		"a mirror that keeps the newest root alone": {
			spoil: func() func() { return y.lose(2, newest-1) },
			says:  []string{"version 1 expired at", "there is no version 2", "get the publisher's newest root", "freshet enroll URL --root FILE --replace"},
		},
		"a root lost half way": {
			spoil: func() func() { return y.lose(17, 17) },
			says:  []string{"version 16 expired at", "there is no version 17", "get the publisher's newest root", "freshet enroll URL --root FILE --replace"},
		},
	}
	for name, row := range rows {
		state := "state-" + strings.ReplaceAll(name, " ", "-")
		y.copyState(state)
		if row.spoil == nil {
			y.switchedOn(state)
			continue
		}
		restore := row.spoil()
		y.saysWhatToDo(name, state, "RootExpired", row.says)
		// What it says to do, with the root as the publisher has it.
		given := filepath.Join(y.dir, "newest.json")
		copyFile(t, filepath.Join(y.repo, "metadata", fmt.Sprintf("%d.root.json", newest)), given)
		if out, err := y.freshet(state, "enroll", y.url, "--root", given, "--replace"); err != nil || y.installed(state) != content(2) {
			t.Errorf("%s: what it says to do does not help: %v\n%s", name, err, out)
		}
		if out, err := y.freshet(state, "status", "--check"); !strings.Contains(out, "up to date") {
			t.Errorf("%s: afterwards: %v\n%s", name, err, out)
		}
		restore()
	}

	// A publisher who has been silent for weeks: it is they who must do something.
	state := "state-silent"
	y.copyState(state)
	y.at(-20 * 24 * time.Hour)
	y.saysWhatToDo("a silent publisher", state, "MetadataExpired", []string{"timestamp", "expired at", "another source may have newer ones, else the publisher must sign again"})
	y.publisher("refresh", y.repo)
	if out, err := y.freshet(state, "update"); err != nil || y.installed(state) != content(2) {
		t.Errorf("once they signed: %v\n%s", err, out)
	}
	y.at(0)
}

// switchedOn starts the agent, as a boot does, and waits until it is up to date.
func (y *years) switchedOn(state string) {
	y.t.Helper()
	agent := y.command(state, "freshet-lab", "agent")
	var log bytes.Buffer
	agent.Stderr = &log
	defer func() {
		if y.t.Failed() {
			y.t.Logf("%s", log.String())
		}
	}()
	if err := agent.Start(); err != nil {
		y.t.Fatal(err)
	}
	y.eventually("the agent is up to date", func() bool { return y.installed(state) == content(2) })
	var st api.Status
	y.eventually("it says so", func() bool {
		out, err := y.freshet(state, "status", "--json")
		return err == nil && json.Unmarshal([]byte(out), &st) == nil && st.State == "up to date"
	})
	agent.Process.Signal(syscall.SIGTERM)
	if err := agent.Wait(); err != nil {
		y.t.Error(err)
	}
	events, _ := y.freshet(state, "events")
	for _, code := range []string{"BasesAreTotallyOutOfDate", "BasesUpdated", "BasesAreUpToDate"} {
		if !strings.Contains(events, code) {
			y.t.Errorf("no %s among\n%s", code, events)
		}
	}
	for _, code := range []string{"SourceHostile", "SourceDamaged", "StateDamaged", "Expired"} {
		if strings.Contains(events, code) {
			y.t.Errorf("%s in\n%s", code, events)
		}
	}
	kept, _ := filepath.Glob(filepath.Join(y.dir, state, "trust", "*", "root_history", "*.root.json"))
	if len(kept) != y.root() {
		y.t.Errorf("%d of %d roots are kept", len(kept), y.root())
	}
}

// saysWhatToDo has an update fail, and holds what is said against says.
func (y *years) saysWhatToDo(name, state, event string, says []string) {
	y.t.Helper()
	update, err := y.freshet(state, "update")
	if err == nil || y.installed(state) != content(1) {
		y.t.Errorf("%s: it updates, or what was installed is gone\n%s", name, update)
	}
	status, _ := y.freshet(state, "status")
	check, _ := y.freshet(state, "status", "--check")
	events, _ := y.freshet(state, "events")
	for where, text := range map[string]string{"update": update, "status": status, "events": events} {
		for _, want := range says {
			if !strings.Contains(text, want) {
				y.t.Errorf("%s: %s does not say %q but\n%s", name, where, want, text)
			}
		}
	}
	if want := says[len(says)-1]; !strings.Contains(check, want) || !strings.Contains(check, "signed 730 d 0 h ago") && !strings.Contains(check, "signed 750 d 0 h ago") {
		y.t.Errorf("%s: status --check does not say %q\n%s", name, want, check)
	}
	if !strings.Contains(update, "freshet: hint: ") || !strings.Contains(events, event) {
		y.t.Errorf("%s: no hint, or no %s\n%s\n%s", name, event, update, events)
	}
	if strings.Contains(events, "SourceHostile") {
		y.t.Errorf("%s: the source is called hostile\n%s", name, events)
	}
}
