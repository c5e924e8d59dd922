package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

// crasher is a program of the agent that serves well and crashes whenever the
// host's file "crash" is there.
func (h *host) crasher(program string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, "release", "freshet")
	h.write(path, fmt.Sprintf("#!/bin/sh\n(while ! [ -e %s/crash ]; do sleep 0.1; done; kill -SEGV $$) &\nexec %s \"$@\"\n", h.dir, program))
	if err := os.Chmod(path, 0o755); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// repository has two bases, each delivered to a folder of its own by deliver.
func (h *host) repository() (repo string) {
	h.t.Helper()
	repo = h.dir + "/repo"
	publish := filepath.Join(bin(), "freshet-publish")
	h.must(publish, "init", repo, "--keys", h.dir+"/keys")
	for _, name := range []string{"one", "two"} {
		h.write(h.dir+"/"+name+".txt", name+".example\n")
		h.must(publish, "base", repo, name, h.dir+"/"+name+".txt")
		if err := os.MkdirAll(h.engine(name), 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
	return repo
}

func (h *host) engine(base string) string { return h.dir + "/engines/" + base }

// delivers is the settings' entry of a base.
func (h *host) delivers(base string) string {
	return fmt.Sprintf("  - {name: %s, deliver: {to: %s}}\n", base, h.engine(base))
}

// listed asserts what lies in the engines' folders, as "one two".
func (h *host) listed(want string) {
	h.t.Helper()
	var got []string
	for _, base := range []string{"one", "two"} {
		if names(h.t, h.engine(base)) == base+".txt" {
			got = append(got, base)
		}
	}
	if has := strings.Join(got, " "); has != want {
		h.t.Errorf("delivered is %q, not %q\n%s", has, want, h.output())
	}
}

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

// editedInATrial has an operator add a base with its delivery and a task while a
// release is on trial and well; a newer one comes and crashes.
func editedInATrial(t *testing.T, old, next string) {
	h := newHost(t, old, schema1)
	repo := h.repository()
	settings := fmt.Sprintf("version: 1\nsources: [{url: %s}]\nroot: %s/metadata/1.root.json\nupdate: {random_delay: 0s}\nlog: {to: stderr}\nbases:\n", repo, repo)
	h.write(h.file, settings+h.delivers("one"))
	h.start("--gate", "1h")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	h.must(h.prog, "update")
	h.listed("one")
	h.try("1.1.0", next)
	h.until("1.1.0 is on trial", h.serves("1.1.0", true))
	edited := settings + h.delivers("one") + h.delivers("two")
	h.write(h.file, edited)
	h.until("the second base is delivered", func() bool { return names(t, h.engine("two")) == "two.txt" })
	h.must(h.prog, "task", "create", "nightly", "--type", "update")
	h.until("no update runs, which would prune what the test is putting there", func() bool {
		st := h.status()
		return st != nil && !st.Update.Running && len(st.Bases) == 2
	})
	h.try("1.2.0", h.crasher(next))
	h.until("1.2.0 is on trial, and serves", func() bool {
		out := h.output()
		return strings.Contains(out[strings.LastIndex(out, "on trial: "):], "agent 1.2.0 serves")
	})
	h.write(h.dir+"/crash", "")
	h.until("1.2.0 is rolled back", func() bool {
		st, err := h.store.Load()
		_, held := st.HeldModule("agent", "1.2.0")
		return err == nil && held && h.status() != nil
	})
	if got := h.reads(h.file); got != edited {
		t.Errorf("the settings are\n%s", got)
	}
	h.listed("one two")
	if out := h.must(h.prog, "task", "list"); !strings.Contains(out, "nightly") {
		t.Errorf("the task is gone:\n%s", out)
	}
	if out := h.must(h.prog, "events", "--json"); strings.Contains(out, "DeliveryTakenBack") || strings.Contains(out, "SettingsBack") {
		t.Errorf("events:\n%s", out)
	}
}

// enrolledOnABadDay enrolls a host at a repository whose newest release of the
// agent crashes: the host keeps its source.
func enrolledOnABadDay(t *testing.T, old, next string) {
	h := newHost(t, old, "version: 1\nupdate: {random_delay: 0s}\nlog: {to: stderr}\n")
	repo := h.repository()
	release := filepath.Dir(h.crasher(next))
	h.write(release+"/module.yaml", fmt.Sprintf("name: agent\nversion: 1.1.0\nplatform: linux/%s\nprograms: [freshet]\nstart: [freshet]\n", runtime.GOARCH))
	h.must(filepath.Join(bin(), "freshet-publish"), "module", repo, release)
	h.write(h.dir+"/crash", "")
	h.start("--gate", "1h")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	out, err := h.run(h.prog, "enroll", repo, "--root", repo+"/metadata/1.root.json")
	t.Logf("%s%v", out, err)
	var st *api.Status
	h.until("1.1.0 is rolled back, and the enrolment done", func() bool {
		state, err := h.store.Load()
		_, held := state.HeldModule("agent", "1.1.0")
		st = h.status()
		return err == nil && held && st != nil && st.Version == "1.0.0" && len(st.Sources) == 1 && len(st.Bases) == 2 && !st.Update.Running
	})
	if text := h.reads(h.file); !strings.Contains(text, repo) {
		t.Errorf("the settings have no source:\n%s", text)
	}
	if out, err := h.run(h.prog, "update"); err != nil {
		t.Errorf("it cannot update: %s", out)
	}
	h.until("enrolling is told", func() bool { return strings.Contains(h.must(h.prog, "events", "--json"), `"Enrolled"`) })
}
