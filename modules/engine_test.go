package modules_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/modules"
)

// script makes an executable of shell lines.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "command")
	syscall.ForkLock.RLock() // what a process started meanwhile holds open for writing cannot be run
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

var version = modules.Version{Dir: "/v/2", Number: "2", PreviousDir: "/v/1"}

func TestEngineIsAskedWithoutAShell(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRET", "of the agent")
	e := &modules.Engine{
		Base:       "hashes",
		TryCommand: []string{script(t, `printf '%s|' "$@" > `+out+`; env >> `+out), "--db={dir}", "{base} {version}", "$(id)", "{previous_dir}", "{other}"},
	}
	if err := e.Try(context.Background(), version); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	if want := "--db=/v/2|hashes 2|$(id)|/v/1|{other}|"; !strings.HasPrefix(got, want) {
		t.Errorf("arguments %q, want %q", got, want)
	}
	for _, want := range []string{"FRESHET_BASE=hashes\n", "FRESHET_VERSION=2\n", "FRESHET_DIR=/v/2\n", "FRESHET_PREVIOUS_DIR=/v/1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the environment lacks %q", want)
		}
	}
	if strings.Contains(got, "SECRET") {
		t.Error("the agent's environment is passed on")
	}
}

func TestEngineWithNothingSetTakesEverything(t *testing.T) {
	e := &modules.Engine{Base: "hashes"}
	healthy, err := e.Baseline(context.Background(), version)
	if !healthy || err != nil {
		t.Errorf("baseline %v, %v", healthy, err)
	}
	ctx := context.Background()
	if err := errors.Join(e.Try(ctx, version), e.Take(ctx, version), e.Watch(ctx, version, true), deliverTo(e, "/v/2")); err != nil {
		t.Error(err)
	}
}

func TestVetoKeepsItsEvidence(t *testing.T) {
	e := &modules.Engine{Base: "hashes", TryCommand: []string{script(t, `i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); done; echo "malformed database" >&2; exit 3`)}}
	err := e.Try(context.Background(), version)
	var veto *modules.CommandError
	if !errors.As(err, &veto) {
		t.Fatalf("error %v", err)
	}
	if veto.Exit != 3 || veto.Step != "try" || !strings.HasSuffix(veto.Output, "line 1999\nmalformed database\n") || len(veto.Output) != 4096 {
		t.Errorf("veto %+v", veto)
	}
	if !strings.HasSuffix(err.Error(), "exit status 3: it wrote “malformed database”") {
		t.Errorf("error %q", err)
	}
}

func TestEvidenceIsBoundedAndSteersNoTerminal(t *testing.T) {
	e := &modules.Engine{Base: "hashes", TryCommand: []string{script(t, `head -c 9000 /dev/zero | tr '\0' x; printf '\033[31mred\033]0;title\007 \342\200\256 \233 \342\200\234said\342\200\235 "so"\n'; exit 1`)}}
	err := e.Try(context.Background(), version)
	got := modules.Evidence(fmt.Errorf("its engine does not take it: %w", err))
	if len(got) > 4096 || strings.ContainsAny(got, "\x1b\x07\u009b\u202e") || !strings.HasSuffix(got, "[31mred]0;title   “said” \"so\"\n") {
		t.Errorf("%d bytes: …%q", len(got), got[max(0, len(got)-60):])
	}
	if text := err.Error(); len(text) > 600 || strings.Count(text, "“") != 1 || !strings.HasSuffix(text, "'said' 'so'”") {
		t.Errorf("error %q", text)
	}
}

// TestWhatIsNoVerdict: the version may be as good as any.
func TestWhatIsNoVerdict(t *testing.T) {
	for name, row := range map[string]struct {
		lines string
		veto  bool
	}{
		"an exit code":                      {"exit 1", true},
		"a crash":                           {"kill -SEGV $$", true},
		"killed, for want of memory say":    {"kill -KILL $$", false},
		"stopped by the machine's end":      {"kill -TERM $$", false},
		"timeout(1) in the command":         {"timeout 0.01 sleep 10", false},
		"killed below a shell":              {"sh -c 'kill -KILL $$'; exit $?", false},
		"a program that is not installed":   {"exec /nonexistent/program", false},
		"it says so itself, by EX_TEMPFAIL": {"exit 75", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &modules.Engine{Base: "hashes", TryCommand: []string{script(t, row.lines)}}
			if err := e.Try(context.Background(), version); err == nil || modules.IsVeto(err) != row.veto {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCommandOutOfTimeEndsWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	e := &modules.Engine{
		Base: "hashes", TryTimeout: 300 * time.Millisecond,
		TryCommand: []string{script(t, `sleep 1000 & echo $! > `+pids+`; echo waiting; wait`)},
	}
	err := e.Try(context.Background(), version)
	if modules.IsVeto(err) || !modules.IsTimeout(err) || !strings.Contains(err.Error(), "not done after 300ms") || modules.Evidence(err) != "waiting\n" {
		t.Fatalf("error %v", err)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	stat := "/proc/" + strings.TrimSpace(string(data)) + "/stat"
	until(t, func() bool {
		state, err := os.ReadFile(stat)
		return err != nil || strings.Contains(string(state), ") Z ")
	})
}

// until polls for what another process does.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatal("it does not come about")
		}
		exec.Command("true").Run() // lets others run
	}
}

func TestCommandThatCannotRunIsNoVeto(t *testing.T) {
	e := &modules.Engine{Base: "hashes", TryCommand: []string{"/nonexistent/engine"}}
	err := e.Try(context.Background(), version)
	var veto *modules.CommandError
	if err == nil || errors.As(err, &veto) {
		t.Errorf("error %v", err)
	}
	t.Run("nor is one that the caller gave up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		e := &modules.Engine{Base: "hashes", TryCommand: []string{script(t, "exit 0")}}
		if err := e.Try(ctx, version); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// sick is a health command that fails at the given calls, counted from 1.
func sick(t *testing.T, calls ...int) (command []string, count func() int) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "calls")
	when := "0"
	for _, c := range calls {
		when += fmt.Sprintf("|%d", c)
	}
	lines := fmt.Sprintf("echo x >> %s\ncase $(wc -l < %s) in %s) echo sick; exit 1;; esac", log, log, when)
	return []string{script(t, lines)}, func() int {
		data, _ := os.ReadFile(log)
		return strings.Count(string(data), "x")
	}
}

func TestHealthIsADifference(t *testing.T) {
	const every, watch = time.Millisecond, 30 * time.Millisecond
	rows := map[string]struct {
		before  bool
		sick    []int
		healthy bool
	}{
		"a healthy engine stays":                       {true, nil, true},
		"one check that fails is forgiven":             {true, []int{1}, true},
		"two in a row are not":                         {true, []int{1, 2}, false},
		"an engine that was ill before is not watched": {false, []int{1, 2, 3, 4}, true},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			command, count := sick(t, row.sick...)
			e := &modules.Engine{Base: "hashes", HealthCommand: command, HealthEvery: every, WatchFor: watch}
			err := e.Watch(context.Background(), version, row.before)
			if (err == nil) != row.healthy {
				t.Errorf("error %v", err)
			}
			if watched := count() > 0; watched != row.before {
				t.Errorf("%d checks", count())
			}
		})
	}
}

// TestASleepWhileAnEngineIsWatched has the machine sleep for eight hours each time
// that its engine was checked, so often at most.
func TestASleepWhileAnEngineIsWatched(t *testing.T) {
	for _, row := range []struct {
		name  string
		sick  []int
		slept int // times at most
		watch time.Duration
		stop  int // breaks it off after so many
		err   error
	}{
		{"the hours that it slept confirm nothing", nil, 1, time.Hour, 6, context.Canceled},
		{"a machine that sleeps again and again was not watched for that long", nil, 1 << 10, 2 * time.Millisecond, 8, context.Canceled},
		{"what failed before and after it did not fail twice in a row", []int{1, 2}, 1, 30 * time.Millisecond, 0, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			command, count := sick(t, row.sick...)
			ctx, stop := context.WithCancel(context.Background())
			defer stop()
			e := &modules.Engine{Base: "hashes", HealthCommand: command, HealthEvery: time.Millisecond, WatchFor: row.watch}
			e.Clock = &clock.Clock{Slept: func() time.Duration {
				n := count()
				if row.stop > 0 && n >= row.stop {
					stop()
				}
				return time.Duration(min(n, row.slept)) * 8 * time.Hour
			}}
			if err := e.Watch(ctx, version, true); !errors.Is(err, row.err) {
				t.Errorf("error %v, not %v", err, row.err)
			}
		})
	}
}

func TestBaselineTellsAnIllEngine(t *testing.T) {
	for name, row := range map[string]struct {
		sick    []int
		healthy bool
	}{
		"well":                    {nil, true},
		"one check that failed":   {[]int{1}, true},
		"two checks in a row did": {[]int{1, 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			command, _ := sick(t, row.sick...)
			e := &modules.Engine{Base: "hashes", HealthCommand: command, HealthEvery: time.Millisecond}
			healthy, err := e.Baseline(context.Background(), version)
			if healthy != row.healthy || err != nil {
				t.Errorf("healthy %v, error %v", healthy, err)
			}
		})
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	command, _ := sick(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e := &modules.Engine{Base: "hashes", HealthCommand: command, WatchFor: time.Hour}
	if err := e.Watch(ctx, version, true); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestSignalReachesTheProcessOfThePidfile(t *testing.T) {
	dir := t.TempDir()
	got, pidfile := filepath.Join(dir, "got"), filepath.Join(dir, "engine.pid")
	child := exec.Command(script(t, `trap 'echo USR1 > `+got+`' USR1; echo $$ > `+pidfile+`.new; mv `+pidfile+`.new `+pidfile+`; while :; do sleep 0.05; done`))
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	until(t, func() bool { _, err := os.Stat(pidfile); return err == nil })
	e := &modules.Engine{Base: "hashes", Signal: &modules.Signal{Pidfile: pidfile, Name: "USR1"}}
	if err := e.Take(context.Background(), version); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { _, err := os.Stat(got); return err == nil })

	t.Run("not that of another owner", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("only root gives files away")
		}
		if err := os.Chown(pidfile, 1, 1); err != nil {
			t.Fatal(err)
		}
		err := e.Take(context.Background(), version)
		if err == nil || !strings.Contains(err.Error(), "belongs to uid") {
			t.Errorf("error %v", err)
		}
	})
}

// TestAPidfileOlderThanItsProcessSignalsNobody: the engine is gone, and its
// number is another's now.
func TestAPidfileOlderThanItsProcessSignalsNobody(t *testing.T) {
	innocent := exec.Command("sleep", "1000")
	if err := innocent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- innocent.Wait() }()
	defer func() { innocent.Process.Kill(); <-ended }()
	pidfile := filepath.Join(t.TempDir(), "engine.pid")
	// Not HUP: under nohup a child is born without ears for it.
	send := func(written time.Time) error {
		t.Helper()
		if err := os.WriteFile(pidfile, []byte(fmt.Sprintln(innocent.Process.Pid)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(pidfile, written, written); err != nil {
			t.Fatal(err)
		}
		return (&modules.Signal{Pidfile: pidfile, Name: "USR1"}).Send()
	}
	err := send(time.Now().Add(-2 * time.Hour))
	if !errors.Is(err, modules.ErrNotRunning) || !strings.Contains(err.Error(), "it is another's, and gets no signal") {
		t.Errorf("error %v", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the innocent process ended: %v", err)
	default:
	}
	if err := send(time.Now()); err != nil {
		t.Errorf("of the process that wrote it: %v", err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "user defined signal 1") {
		t.Errorf("it was not signalled: %v", err)
	}
	ended <- nil
}

func TestWhenAPidfileIsOlderThanItsProcess(t *testing.T) {
	boot := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	const started = time.Hour // after the boot
	rows := map[string]struct {
		written, runBorn time.Time
		older            bool
	}{
		"written when the process began":     {boot.Add(time.Hour), time.Time{}, false},
		"a coarse file system's second ago":  {boot.Add(time.Hour - time.Second), time.Time{}, false},
		"an hour later":                      {boot.Add(2 * time.Hour), boot, false},
		"a minute before":                    {boot.Add(59 * time.Minute), boot, true},
		"before the boot":                    {boot.Add(-time.Hour), time.Time{}, true},
		"/run is older than the boot by 10h": {boot.Add(-9 * time.Hour), boot.Add(-10 * time.Hour), false},
		"and the file older than that":       {boot.Add(-11 * time.Hour), boot.Add(-10 * time.Hour), true},
		"/run was made long after the boot":  {boot.Add(59 * time.Minute), boot.Add(40 * time.Minute), true},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if got := modules.WrittenBefore(row.written, started, boot, row.runBorn); got != row.older {
				t.Errorf("older %v", got)
			}
		})
	}
}

func TestWhoseNumberAPidfileHolds(t *testing.T) {
	t.Run("of a process that ended, and nobody has asked how", func(t *testing.T) {
		over := exec.Command("true")
		if err := over.Start(); err != nil {
			t.Fatal(err)
		}
		defer over.Wait()
		stat := fmt.Sprintf("/proc/%d/stat", over.Process.Pid)
		until(t, func() bool {
			data, _ := os.ReadFile(stat)
			return strings.Contains(string(data), ") Z ")
		})
		path := filepath.Join(t.TempDir(), "pid")
		if err := os.WriteFile(path, []byte(fmt.Sprint(over.Process.Pid)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := (&modules.Signal{Pidfile: path, Name: "HUP"}).Send(); !errors.Is(err, modules.ErrNotRunning) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("of a name that holds brackets", func(t *testing.T) {
		name, started, err := modules.ParseStat("7 (a) R (b) S " + strings.Repeat("0 ", 18) + "12345 0 0")
		if name != "a) R (b" || started != 123*time.Second+450*time.Millisecond || err != nil {
			t.Errorf("%q began after %s, %v", name, started, err)
		}
	})
}

func TestPidfileThatNamesNoEngineIsRefused(t *testing.T) {
	over := exec.Command("true")
	if err := over.Run(); err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{
		"init":                "1\n",
		"a group":             "-5",
		"everyone":            "-1",
		"words":               "running\n",
		"nothing":             "",
		"this very process":   fmt.Sprint(os.Getpid()),
		"a process that went": fmt.Sprint(over.Process.Pid),
	}
	for name, content := range rows {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pid")
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			err := (&modules.Signal{Pidfile: path, Name: "HUP"}).Send()
			if err == nil || errors.Is(err, modules.ErrNotRunning) != (name == "a process that went") {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("a file that is not there is an engine that does not run", func(t *testing.T) {
		err := (&modules.Signal{Pidfile: filepath.Join(t.TempDir(), "pid"), Name: "HUP"}).Send()
		if !errors.Is(err, modules.ErrNotRunning) {
			t.Errorf("error %v", err)
		}
	})
}

func TestEngineFromSettings(t *testing.T) {
	b := settings.DefaultBase("hashes")
	b.Try, b.Health, b.Watch = []string{"/bin/true"}, []string{"/bin/true"}, settings.Duration(time.Minute)
	b.Deliver = &settings.Deliver{To: "/var/lib/engine", Owner: "engine", Mode: 0o640}
	b.Signal = &settings.Signal{Pidfile: "/run/engine.pid", Signal: "HUP"}
	e := modules.From(b, "/state")
	if e.Base != "hashes" || e.WatchFor != time.Minute || e.Timeout != time.Minute || e.HealthEvery != 10*time.Second ||
		*e.Delivery != (modules.Delivery{To: "/var/lib/engine", Owner: "engine", Mode: 0o640, StateDir: "/state"}) ||
		*e.Signal != (modules.Signal{Pidfile: "/run/engine.pid", Name: "HUP"}) || len(e.TryCommand) != 1 || len(e.HealthCommand) != 1 {
		t.Errorf("engine %+v", e)
	}
}
