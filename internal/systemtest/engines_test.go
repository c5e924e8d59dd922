//go:build system

package systemtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// detail is what freshet bases show tells.
func (e *endpoint) detail(base string) api.BaseDetail {
	e.t.Helper()
	var d api.BaseDetail
	e.ask(&d, "bases", "show", base)
	return d
}

// add appends to the settings.
func (e *endpoint) add(text string) {
	e.t.Helper()
	was, err := os.ReadFile(e.path("freshet.yaml"))
	if err != nil {
		e.t.Fatal(err)
	}
	write(e.t, e.path("freshet.yaml"), string(was)+text)
}

func (e *endpoint) saw(code event.Code) bool {
	e.t.Helper()
	var all api.Events
	e.ask(&all, "events")
	for _, ev := range all.Events {
		if ev.Code == code {
			return true
		}
	}
	return false
}

// zones are the lines that unbound includes.
func zones(version int) string {
	return fmt.Sprintf("local-zone: \"bad%d.example.\" always_nxdomain\nlocal-zone: \"all.example.\" always_nxdomain\n", version)
}

// TestAResolverThatCannotStartWithoutItsZones has a real unbound include what is
// delivered: before the first version it does not even start.
func TestAResolverThatCannotStartWithoutItsZones(t *testing.T) {
	unbound := needsProgram(t, "unbound", "unbound")
	control, check := needsProgram(t, "unbound-control", "unbound"), needsProgram(t, "unbound-checkconf", "unbound")
	dir := folder(t)
	for _, name := range []string{"zones", "run"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(dir, "unbound.conf")
	of := func(include string) string {
		return fmt.Sprintf("server:\n  interface: %s\n  do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n  username: \"\"\n  chroot: \"\"\n  directory: \"%s\"\n  pidfile: \"%s/run/pid\"\n  include: \"%s/zones.txt\"\n"+
			"remote-control:\n  control-enable: yes\n  control-interface: %s/run/ctl\n  control-use-cert: no\n", strings.Replace(freeAddress(t), ":", "@", 1), dir, dir, include, dir)
	}
	write(t, conf, of(filepath.Join(dir, "zones")))
	write(t, filepath.Join(dir, "try.conf"), of("VERSION"))
	if exec.Command(check, conf).Run() == nil {
		t.Fatal("unbound does without its zones: the test shows nothing")
	}
	p := newPublisher(t, released)
	p.release("zones", zones(1))
	e := newEndpoint(t, p, p.repo())
	e.add(fmt.Sprintf("bases:\n  - name: zones\n    deliver: {to: %[1]s/zones}\n    took: [%[2]s, -c, %[1]s/unbound.conf, reload]\n"+
		"    try: [/bin/sh, -c, 'sed \"s|VERSION|$FRESHET_DIR|\" %[1]s/try.conf >%[1]s/run/try.conf && exec %[3]s %[1]s/run/try.conf']\n", dir, control, check))
	e.update(api.Updated)
	st := e.status()
	if len(st.Held) > 0 || len(st.Engines) != 1 || st.Engines[0].Step != "took" || !e.saw(event.EngineFailed) {
		t.Fatalf("before it runs: %+v, %+v", st.Held, st.Engines)
	}
	d := start(t, exec.Command(unbound, "-c", conf))
	poll(t, time.Minute, "unbound answers", func() bool {
		if d.hasEnded() {
			t.Fatalf("unbound has ended: %s", d.output.String())
		}
		return exec.Command(control, "-c", conf, "status").Run() == nil
	})
	has := func(zone string) bool {
		return strings.Contains(sh(t, control, "-c", conf, "list_local_zones"), zone+".")
	}
	e.update(api.NothingNew)
	if st := e.status(); len(st.Engines) > 0 || !e.saw(event.EngineAccepted) || !has("bad1.example") {
		t.Errorf("it runs: %+v", st.Engines)
	}
	p.release("zones", zones(2))
	e.update(api.Updated)
	if !has("bad2.example") || has("bad1.example") {
		t.Error("it does not use version 2")
	}
	p.release("zones", zones(3)+"local-zone: no such type\n")
	if res := e.refuses(); !strings.Contains(res.Bases[0].Error, "try command /bin/sh") {
		t.Errorf("%+v", res)
	}
	held := e.detail("zones").Held
	if len(held) != 1 || held[0].Version != 3 || !strings.Contains(held[0].Evidence, "local-zone") {
		t.Errorf("held: %+v", held)
	}
	if got := e.run("bases", "show", "zones"); !strings.Contains(got, "  | ") || !strings.Contains(got, "delivered to "+dir+"/zones: 1 files") {
		t.Errorf("bases show: %s", got)
	}
	if !has("bad2.example") {
		t.Error("it lost version 2")
	}
}

// slowly is a program that takes its time before it runs another.
func slowly(t *testing.T, program string) string {
	t.Helper()
	path := filepath.Join(folder(t), filepath.Base(program))
	write(t, path, "#!/bin/sh\nsleep 5\nexec "+program+" \"$@\"\n")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestScannersOutOfTimeCondemnNothing, real ones on a host that is too busy.
func TestScannersOutOfTimeCondemnNothing(t *testing.T) {
	yarac := needsProgram(t, "yarac", "yara")
	t.Run("yarac", func(t *testing.T) {
		p := newPublisher(t, released)
		e := newEndpoint(t, p, p.repo())
		settings := func(yarac, more string) {
			e.use(p.repo())
			e.add(fmt.Sprintf("bases: [{name: rules, engine: yara, yara: {yarac: %s}%s}]\n", yarac, more))
		}
		rule := filepath.Join(p.dir, "in", "rules.yar")
		publish := func(text string) {
			write(t, rule, text)
			p.run("base", p.repo(), "rules", rule, "--allow-shrink", "a test")
		}
		publish("rule a { strings: $a = \"zqxj-marker\" condition: $a }\n")
		settings(slowly(t, yarac), ", try_timeout: 1s")
		res := e.refuses()
		if st := e.status(); len(st.Held) > 0 || !strings.Contains(res.Error, "not done after 1s") || len(st.Engines) != 1 {
			t.Fatalf("%+v, %+v", res, st)
		}
		settings(yarac, "")
		e.update(api.Updated)
		publish("rule a { strings: $a = \"zqxj-marker\" condition: $b }\n")
		e.refuses()
		if held := e.detail("rules").Held; len(held) != 1 || !strings.Contains(held[0].Evidence, "undefined string") {
			t.Errorf("held: %+v", held)
		}
	})
	t.Run("clamscan", func(t *testing.T) {
		s := newScanner(t, true, map[string]string{"other.hdb": hash("Test.Other", "of another")})
		p := newPublisher(t, released)
		p.hdb(signatures(1, 1000))
		e := s.endpointFor(p, "hashes", "    try_timeout: 1s\n")
		text, err := os.ReadFile(e.path("freshet.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		quick := string(text)
		write(t, e.path("freshet.yaml"), strings.Replace(quick, "clamav: {", "clamav: {clamscan: "+slowly(t, needsProgram(t, "clamscan", "clamav"))+", ", 1))
		res := e.refuses()
		if st := e.status(); len(st.Held) > 0 || !strings.Contains(res.Error, "not done after 1s") {
			t.Fatalf("%+v, %+v", res, st)
		}
		write(t, e.path("freshet.yaml"), strings.Replace(quick, "    try_timeout: 1s\n", "", 1))
		e.update(api.Updated)
		s.wants("version 1", "Test.Version.1")
	})
}
