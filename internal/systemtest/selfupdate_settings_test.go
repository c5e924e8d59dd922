//go:build system

package systemtest_test

import (
	"strings"
	"time"
)

const (
	settingsFile = "/etc/freshet/freshet.yaml"
	otherSupport = "other@example.org"
)

// asItIs is a file with its owner and mode.
func (m *machine) asItIs(path string) string {
	m.t.Helper()
	return m.run("stat", "-c", "%U:%G %a", path) + "\n" + m.read(path)
}

// inForce waits until the settings in force are of a version of the schema, and
// name whom to ask.
func (w *packaged) inForce(schema, ask string) {
	w.t.Helper()
	poll(w.t, 30*time.Second, "settings of version "+schema+" that name "+ask+" are in force", func() bool {
		said := w.says("settings", "show")
		return strings.Contains(said, "version: "+schema+"\n") && strings.Contains(said, ask)
	})
}

// serves waits until the agent is of a version.
func (w *packaged) serves(version string) {
	w.t.Helper()
	poll(w.t, time.Minute, version+" serves", func() bool {
		return strings.Contains(w.says("version"), "agent v"+version)
	})
}

// liftsSettings goes to a version whose schema of settings is the next one, and
// from there to one whose schema is the one after, and back. Each is of a major
// line of its own, by which nothing but its full image is made.
func (w *packaged) liftsSettings() {
	w.run("sh", "-c", "chown daemon:adm "+settingsFile+" && chmod 640 "+settingsFile)
	before := w.asItIs(settingsFile)
	asBefore := func() {
		w.t.Helper()
		now := ""
		poll(w.t, 30*time.Second, "the settings are as they were:\n"+before, func() bool {
			now = w.asItIs(settingsFile)
			return now == before
		})
	}
	w.inForce("1", support)
	w.unnamed = agentOf(w.t, unnamed, "nextschema")
	w.offersMajor("2.10.0", w.built("2.10.0"))
	w.confirms("v2.10.0")
	w.good = "2.10.0"
	w.inForce("2", support)
	asBefore()

	w.trials("--gate 1h --look 1s --ready 15s --pause 200ms")
	w.run("systemctl", "restart", "freshet")
	w.confirms("v2.10.0")
	w.unnamed = agentOf(w.t, unnamed, "nextschema,afternext")
	w.offersMajor("3.10.0", w.built("3.10.0"))
	w.serves("3.10.0")
	w.inForce("3", support)
	asBefore()
	edit, told := w.edits(), w.told("SettingsBack")
	w.t.Log(w.run("freshet", "rollback"))
	w.serves("2.10.0")
	w.isBeside("3.10.0", edit)
	asBefore()
	w.inForce("2", support)
	poll(w.t, 30*time.Second, "SettingsBack is told once", func() bool { return w.told("SettingsBack") == told+1 })
	w.takesSettingsBack()
	asBefore()
	w.inForce("2", support)

	w.quickTrials()
	w.run("systemctl", "restart", "freshet")
	w.confirms("v2.10.0")
	w.offersMajor("4.10.0", w.built("4.10.0"))
	w.confirms("v4.10.0")
	w.inForce("3", support) // by two steps at once
	asBefore()
	w.run("freshet", "rollback")
	w.serves("2.10.0")
	w.inForce("2", support)
	asBefore()
}

// edits changes the settings in words that the schema after the next one alone
// has, and gives the file.
func (w *packaged) edits() string {
	w.t.Helper()
	edit := strings.NewReplacer("version: 1\n", "version: 3\n", "support: "+support, "contact: "+otherSupport).Replace(w.read(settingsFile))
	w.write(settingsFile, edit)
	w.inForce("3", otherSupport)
	return edit
}

// isBeside waits for what was edited in a version's trial, and removes it.
func (w *packaged) isBeside(version, edit string) {
	w.t.Helper()
	path := settingsFile + ".edited-during-agent-" + version
	poll(w.t, 30*time.Second, path+" is there", func() bool { return w.has(path) })
	if got := w.read(path); got != edit {
		w.t.Errorf("%s is\n%s\nwant\n%s", path, got, edit)
	}
	w.run("rm", path)
}

// takesSettingsBack has a version of the schema after the next one crash when the
// settings have been edited in its words.
func (w *packaged) takesSettingsBack() {
	w.t.Helper()
	w.offersMajor("3.10.1", func(dir string) {
		w.built("3.10.1")(dir)
		sh(w.t, "mv", dir+"/freshet", dir+"/real")
		w.script(`(while ! [ -e ` + broken + ` ]; do sleep 0.2; done; sleep 1; kill -SEGV $$) &` + "\n" + `exec "${0%/*}/real" "$@"`)(dir)
	})
	w.serves("3.10.1")
	w.inForce("3", support)
	edit := w.edits()
	w.write(broken, "")
	w.ask = otherSupport // as the version on trial said, by the settings of its time
	w.takenBack("3.10.1", "stable")
	w.ask = support
	w.run("rm", broken)
	w.isBeside("3.10.1", edit)
}
