//go:build system

package systemtest_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// lockedSettings has nobody, root neither, write the settings file over a good
// version and over one that exits at once.
func (w *packaged) lockedSettings() {
	const file = "/etc/freshet/freshet.yaml"
	before := w.asItIs(file)
	w.run("mount", "--bind", file, file)
	w.run("mount", "-o", "remount,bind,ro", file)
	if out, err := w.command("sh", "-c", "echo >>"+file).CombinedOutput(); err == nil {
		w.t.Fatalf("the settings file is not locked: %s", out)
	}
	w.offersGood("1.30.0")
	w.exitsAtOnce()
	w.run("umount", file)
	if after := w.asItIs(file); after != before {
		w.t.Errorf("the settings were\n%s\nand are\n%s", before, after)
	}
}

func (w *packaged) exitsAtOnce() {
	w.offers("1.30.1", w.script("echo cannot load >&2; exit 7"))
	w.takenBack("1.30.1", "stable")
}

// then is a program that does something and becomes the package's.
func (w *packaged) then(text string) func(string) {
	return w.script(text + "\nexec /usr/lib/freshet/freshet \"$@\"")
}

func (w *packaged) crashesServing() {
	w.offers("1.30.2", w.then("(sleep 1; kill -SEGV $$) &"))
	w.takenBack("1.30.2", "stable")
}

func (w *packaged) isCutOff() {
	w.offers("1.30.3", func(dir string) {
		sh(w.t, "cp", program(released, "freshet"), dir+"/freshet")
		sh(w.t, "truncate", "-s", "300K", dir+"/freshet")
	}, "--any-program")
	w.takenBack("1.30.3", "stable")
}

func (w *packaged) neverReady() {
	w.offers("1.30.4", w.script("exec sleep 1000"))
	w.takenBack("1.30.4", "alive")
}

func (w *packaged) damagesSettings() {
	before := w.inUse()
	w.offers("1.30.5", w.then("echo 'sorces: []' >>/etc/freshet/freshet.yaml"))
	w.takenBack("1.30.5", "settings")
	edited := "/etc/freshet/freshet.yaml.edited-during-agent-1.30.5"
	poll(w.t, 30*time.Second, "the version that came back puts what it refuses beside the file", func() bool { return w.has(edited) && w.told("SettingsBack") > 0 })
	if !strings.Contains(w.read(edited), "sorces") {
		w.t.Errorf("%s is %q", edited, w.read(edited))
	}
	w.run("rm", edited)
	if after := w.inUse(); after != before {
		w.t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

func (w *packaged) exitsWell() {
	w.offers("1.30.6", w.script("echo nothing to do; exit 0"))
	w.takenBack("1.30.6", "stable")
}

// left is how a process is found that was left behind.
const left = "86399"

func (w *packaged) forksAndDies() {
	w.offers("1.30.7", w.script("setsid sleep "+left+" & sleep 0.2; exit 1"))
	w.takenBack("1.30.7", "stable")
	poll(w.t, 10*time.Second, "what it forked is gone", func() bool {
		return w.command("sh", "-c", "grep -lzx '"+left+"' /proc/[0-9]*/cmdline").Run() != nil
	})
}

// badly is a program that has its agent be bad in the way how.
func (w *packaged) badly(how string) func(string) {
	return func(dir string) {
		c := exec.Command("go", "build", "-trimpath", "-tags", "system", "-ldflags", "-s -w", "-o", dir+"/bad", "./badagent")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			w.t.Fatalf("building: %v\n%s", err, out)
		}
		w.script(`exec "${0%/*}/bad" ` + how)(dir)
	}
}

func (w *packaged) leaks() {
	w.offers("1.30.8", w.badly("leaks"))
	w.takenBack("1.30.8", "memory")
}

func (w *packaged) answersNothing() {
	w.offers("1.30.9", w.badly("answers-nothing"))
	w.takenBack("1.30.9", "api")
}

func (w *packaged) forAnotherMachine() {
	w.offers("1.30.10", func(dir string) {
		data, err := os.ReadFile(w.unnamed)
		if err != nil {
			w.t.Fatal(err)
		}
		data[18], data[19] = 0x16, 0 // e_machine: S390, whatever this one is
		if err := os.WriteFile(dir+"/freshet", data, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}, "--any-program")
	w.takenBack("1.30.10", "stable")
}

// hangsLater has looks come as operators have them: what is found at once by
// looks of a second would say little.
func (w *packaged) hangsLater() {
	w.trials("--gate 3s --soak 3m --ready 15s")
	w.run("systemctl", "restart", "freshet")
	w.confirms("v" + w.good)
	w.offers("1.30.11", w.then("(sleep 30; kill -STOP $$) &"))
	w.takenBack("1.30.11", "(api|alive)")
	w.quickTrials()
	w.run("systemctl", "restart", "freshet")
	w.confirms("v" + w.good)
}

// supervisorCrashes offers a version that is well in all but its supervisor.
func (w *packaged) supervisorCrashes() {
	w.offers("1.30.12", w.then(`if [ "$1" = supervise ]; then echo panic: no supervisor >&2; exit 3; fi`))
	w.takenBack("1.30.12", "supervisor")
	first := w.said(`this process goes on as .*/1\.30\.12`)
	decided := w.said(`rolled back from 1\.30\.12`)
	w.t.Logf("%.1f s from about its supervisor's third start to the decision", decided.at-first.at)
}

// broken is a file that keeps a version's supervisor from starting.
const broken = "/var/lib/freshet-broken"

// supervisorBreaksLater has a version be confirmed whose supervisor does not
// start again, however often: the launcher passes it over, and an update helps.
func (w *packaged) supervisorBreaksLater() {
	w.offers("1.40.0", func(dir string) {
		w.built("1.40.0")(dir)
		sh(w.t, "mv", dir+"/freshet", dir+"/real")
		w.script(`if [ "$1" = supervise ] && [ -e ` + broken + ` ]; then echo panic: no supervisor >&2; exit 3; fi` + "\n" + `exec "${0%/*}/real" "$@"`)(dir)
	})
	w.confirms("v1.40.0")
	w.write(broken, "")
	w.kill("KILL", w.mainPID())
	poll(w.t, time.Minute, "another version's supervisor runs, with the good agent", func() bool {
		said, err := w.command("cat", "/run/freshet/supervisor.json").Output()
		return err == nil && strings.Contains(string(said), `"version":"v`+w.good+`","program"`) && strings.Contains(w.says("version"), "agent v1.40.0")
	})
	given := w.said(`freshet-launch: .*/1\.40\.0.* does not come up: starting .*/` + regexp.QuoteMeta(w.good))
	serves := w.said(`agent 1\.40\.0 serves`)
	panics := strings.Count(w.run("journalctl", "-u", "freshet", "--no-pager", "-o", "cat"), "panic: no supervisor") - 3 // of 1.30.12
	if panics != 3 {
		w.t.Errorf("it was started %d times in vain, want 3", panics)
	}
	w.t.Logf("%.1f s from the third start in vain to the agent's serving: %s", serves.at-given.at, given.text)
	w.hasVersion(1)
	w.offersGood("1.50.0")
	w.run("rm", broken)
}

// says is what a command prints, whether it does well or not: a bad agent may be
// the one that answers.
func (w *packaged) says(args ...string) string {
	w.t.Helper()
	out, _ := w.command(append([]string{"timeout", "5", "freshet"}, args...)...).CombinedOutput()
	return string(out)
}

// takenBack expects that a version goes back by itself for a check, and
// reads from the journal how long it took.
func (w *packaged) takenBack(version, check string) {
	w.t.Helper()
	poll(w.t, 2*time.Minute, version+" is taken back", func() bool {
		return strings.Contains(w.says("modules", "show", "agent"), version+" held back") && strings.Contains(w.says("version"), "agent v"+w.good)
	})
	poll(w.t, 2*time.Minute, "the operator is told", func() bool {
		return strings.Contains(w.says("events", "--json"), "rolled back from "+version)
	})
	starts := w.said(`on trial: agent ` + regexp.QuoteMeta(version) + `$`)
	decided := w.said(`ModuleRolledBack: module agent rolled back from ` + regexp.QuoteMeta(version) + ` to ` + regexp.QuoteMeta(w.good) + `: ` + check + `: `)
	w.t.Logf("%.1f s from the beginning of its trial to the decision: %s", decided.at-starts.at, decided.text)
	if back, ok := w.find(`the good version serves again`); ok && back.at > decided.at {
		w.t.Logf("%.1f s from the decision to the good version's serving: %s", back.at-decided.at, back.text)
	} else {
		w.t.Log("the good version served all the time")
	}
	hint := w.said(`hint: nothing needs to be done now: ` + regexp.QuoteMeta(w.good) + ` runs as before, and ` + regexp.QuoteMeta(version) + ` is not`)
	w.t.Log(hint.text)
	if ask := w.ask; !strings.Contains(hint.text, "Tell "+ask+" ") {
		w.t.Errorf("the hint: %s", hint.text)
	}
	w.hasVersion(1)
}
