package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const schema1 = "version: 1 # by hand\nsupport: help@example.org\nlog: {to: stderr}\n"

// An update whose schema of settings is newer reads the operator's file, and
// going back leaves it as it was, with what was edited meanwhile beside it.
func TestSettingsOverAnUpdateToANewerSchemaAndBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, buildAs(t, "1.0.0", ""), schema1)
	if os.Geteuid() == 0 {
		if err := os.Chown(h.file, 1234, 4321); err != nil {
			t.Fatal(err)
		}
	}
	before := lstat(t, h.file)
	h.start("--gate", "1h")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	next := buildAs(t, "1.1.0", "nextschema")
	h.try("1.1.0", next)
	h.until("1.1.0 is on trial", h.serves("1.1.0", true))
	if text := h.must(h.prog, "settings", "show"); !strings.Contains(text, "help@example.org") {
		t.Errorf("what schema 1 says of support is not in force:\n%s", text)
	}
	if got := h.reads(h.file); got != schema1 {
		t.Errorf("the file was rewritten:\n%s", got)
	}
	if text := h.must(h.prog, "status"); !strings.Contains(text, "on trial: agent 1.1.0 after agent 1.0.0") || !strings.Contains(text, "confirmed in ") {
		t.Errorf("the status does not tell of the trial:\n%s", text)
	}
	const edit = "version: 2\nhelpdesk: other@example.org\nlog: {to: stderr}\n"
	h.write(h.file, edit)
	h.until("the edit is in force", func() bool {
		out, _ := h.run(h.prog, "settings", "show")
		return strings.Contains(out, "other@example.org")
	})
	h.must(next, "rollback")
	h.until("1.0.0 serves again", h.serves("1.0.0", false))
	h.until("the settings are back", func() bool { return h.reads(h.file) == schema1 })
	if now := lstat(t, h.file); now != before {
		t.Errorf("owner or mode changed: %+v, before %+v", now, before)
	}
	if got := h.reads(h.file + ".edited-during-agent-1.1.0"); got != edit {
		t.Errorf("what was edited is %q", got)
	}
	h.until("the log of events goes on, of both versions", func() bool {
		out, _ := h.run(h.prog, "events", "--json")
		return strings.Contains(out, "SettingsBack") && strings.Contains(out, "agent 1.1.0 started") && strings.Contains(out, "edited-during-agent-1.1.0")
	})
	if out := h.must(h.prog, "settings", "show"); !strings.Contains(out, "help@example.org") {
		t.Errorf("1.0.0 has other settings than before:\n%s", out)
	}
}

// A step that breaks costs the new version its trial, and the operator nothing.
func TestAMigrationThatBreaksIsTakenBack(t *testing.T) {
	t.Parallel()
	text := strings.Replace(schema1, "help@example.org", "FRESHET_TEST_MIGRATION_PANICS", 1)
	h := newHost(t, buildAs(t, "1.0.0", ""), text)
	h.start("--gate", "1h")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	next := buildAs(t, "1.1.0", "nextschema")
	for program, has := range map[string]bool{next: true, h.prog: false, filepath.Join(bin(), "freshet"): false} {
		if strings.Contains(h.reads(program), "FRESHET_TEST_MIGRATION") != has {
			t.Errorf("%s holds the tests' schema, or lacks it: wanted %v", program, has)
		}
	}
	h.try("1.1.0", next)
	h.until("1.1.0 is taken back", func() bool {
		st, err := h.store.Load()
		held, _ := st.HeldModule("agent", "1.1.0")
		return err == nil && strings.HasPrefix(held.Reason, "settings: ") && h.serves("1.0.0", false)()
	})
	if got := h.reads(h.file); got != text {
		t.Errorf("the file was changed:\n%s", got)
	}
	if got := h.reads(h.file + ".of-version-1"); got != text {
		t.Errorf("the copy beside it is:\n%s", got)
	}
	h.until("the operator is told", func() bool {
		out, _ := h.run(h.prog, "events", "--json")
		return strings.Contains(out, "SettingsNotMigrated") && strings.Contains(out, ".of-version-1") && strings.Contains(out, "ModuleRolledBack")
	})
}

// owned is whom a file belongs to, and who may do what with it.
type owned struct {
	mode     os.FileMode
	uid, gid uint32
}

func lstat(t *testing.T, path string) owned {
	t.Helper()
	st, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	sys := st.Sys().(*syscall.Stat_t)
	return owned{st.Mode(), sys.Uid, sys.Gid}
}
