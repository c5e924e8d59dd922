package modules_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/modules"
)

const target = "modules/agent.1.linux-amd64.json"

func good() *modules.Manifest {
	return &modules.Manifest{
		Type: "module",
		About: modules.About{
			Name: "agent", Version: "1.2.3", Platform: "linux/amd64", Programs: []string{"bin/freshet"},
			Start: []string{"bin/freshet", "agent"}, Health: []string{"bin/freshet", "status"}, Settings: 2,
			Bases: []string{"urls"}, Agent: "1.0.0", Firewall: "nftables", Notes: "Better.\n",
		},
		Published: time.Unix(1700000000, 0).UTC(),
		Image:     bases.Image{Kind: bases.KindTree, Size: 100, SHA256: bases.Hash{1}},
		Full:      bases.Blob{Size: 50, SHA256: bases.Hash{2}},
		Deltas:    []modules.Delta{{From: "1.2.2", Image: bases.Hash{3}, Blob: bases.Blob{Size: 5, SHA256: bases.Hash{4}}}},
		Kept:      []modules.Release{{Version: "1.2.2", Image: bases.Image{Kind: bases.KindTree, Size: 90, SHA256: bases.Hash{3}}, Full: bases.Blob{Size: 40}}},
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAManifestIsReadAsItWasWritten(t *testing.T) {
	want := good()
	m, err := modules.ParseManifest(target, encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(encode(t, m)); got != string(encode(t, want)) {
		t.Errorf("%s", got)
	}
	slot := m.Slot(bases.Hash{9})
	if slot.Dir != "1.2.3-010000000000" || slot.Start[0] != "bin/freshet" || slot.Manifest != (bases.Hash{9}).String() {
		t.Errorf("%+v", slot)
	}
	if modules.TargetPath("agent", modules.Line("1.2.3"), "linux/amd64") != target {
		t.Error("it is signed under another path")
	}
}

func TestManifestsThatMakeNoSenseAreRefused(t *testing.T) {
	rows := []struct {
		name   string
		change func(*modules.Manifest)
		want   string
	}{
		{"of another type", func(m *modules.Manifest) { m.Type = "base" }, "type"},
		{"of another module", func(m *modules.Manifest) { m.Name, m.Firewall = "other", "" }, "signed for line 1"},
		{"of another line", func(m *modules.Manifest) { m.Version = "2.0.0" }, "signed for line 1"},
		{"of another platform", func(m *modules.Manifest) { m.Platform = "linux/arm64" }, "signed for line 1"},
		{"with a v before its version", func(m *modules.Manifest) { m.Version = "v1.2.3" }, "no version"},
		{"with a short version", func(m *modules.Manifest) { m.Version = "1.2" }, "no version"},
		{"with build metadata, which orders nothing", func(m *modules.Manifest) { m.Version = "1.2.3+x" }, "no version"},
		{"with a version that leaves its folder", func(m *modules.Manifest) { m.Version = "1.2.3-../../x" }, "no version"},
		{"never published", func(m *modules.Manifest) { m.Published = time.Time{} }, "publication"},
		{"with a single file", func(m *modules.Manifest) { m.Image.Kind = bases.KindFile }, "tree"},
		{"with an empty image", func(m *modules.Manifest) { m.Image.Size = 0 }, "tree"},
		{"with no full image", func(m *modules.Manifest) { m.Full.Size = -1 }, "full image"},
		{"with a delta that is empty", func(m *modules.Manifest) { m.Deltas[0].Size = 0 }, "delta"},
		{"with a delta from itself", func(m *modules.Manifest) { m.Deltas[0].Image = m.Image.SHA256 }, "delta"},
		{"without programs", func(m *modules.Manifest) { m.Programs = nil }, "programs"},
		{"with a program outside", func(m *modules.Manifest) { m.Programs = append(m.Programs, "../bin/sh") }, "no path"},
		{"with an absolute program", func(m *modules.Manifest) { m.Programs = append(m.Programs, "/bin/sh") }, "no path"},
		{"that starts another program", func(m *modules.Manifest) { m.Start = []string{"/bin/sh", "-c", "id"} }, "none of the programs"},
		{"that asks another program for health", func(m *modules.Manifest) { m.Health = []string{"bin/other"} }, "none of the programs"},
		{"with a zero byte in an argument", func(m *modules.Manifest) { m.Start = append(m.Start, "a\x00b") }, "no argument"},
		{"that asks twice for health", func(m *modules.Manifest) { m.Endpoint = "http://127.0.0.1:1/" }, "keep one"},
		{"that asks another machine", func(m *modules.Manifest) { m.Health, m.Endpoint = nil, "http://192.0.2.1:80/" }, "this machine"},
		{"that asks a file", func(m *modules.Manifest) { m.Health, m.Endpoint = nil, "file:///etc/passwd" }, "http://127.0.0.1"},
		{"with an unknown firewall", func(m *modules.Manifest) { m.Firewall = "pf" }, "firewall"},
		{"that is no agent and has a firewall", func(m *modules.Manifest) { m.Name = "av" }, "only the module agent"},
		{"with a base that has no name", func(m *modules.Manifest) { m.Bases = []string{"a b"} }, "bases"},
		{"with notes that steer the terminal", func(m *modules.Manifest) { m.Notes = "\x1b[2J" }, "notes"},
		{"with notes without end", func(m *modules.Manifest) { m.Notes = strings.Repeat("x", modules.MaxNotes+1) }, "notes"},
		{"with a least agent that is none", func(m *modules.Manifest) { m.Agent = "new" }, "least agent"},
		{"with settings below 0", func(m *modules.Manifest) { m.Settings = -1 }, "settings"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			m := good()
			row.change(m)
			_, err := modules.ParseManifest(target, encode(t, m))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(encode(f, good()))
	f.Add([]byte(`{"type":"module","name":"agent","version":"1.0.0"}`))
	f.Add([]byte(`{"type":"module"}{"type":"module"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := modules.ParseManifest(target, data)
		if err != nil {
			return
		}
		if m.Name != "agent" || m.Dir() != filepath.Base(m.Dir()) || strings.HasPrefix(m.Dir(), ".") {
			t.Errorf("slot %q of %q", m.Dir(), m.Name)
		}
		for _, p := range append(m.Programs, m.Slot(bases.Hash{}).Start...)[:len(m.Programs)] {
			if !filepath.IsLocal(p) {
				t.Errorf("program %q", p)
			}
		}
		again, err := modules.ParseManifest(target, encode(t, m))
		if err != nil || string(encode(t, again)) != string(encode(t, m)) {
			t.Errorf("read again it is another: %v", err)
		}
	})
}

func FuzzAbout(f *testing.F) {
	f.Add([]byte(aboutText))
	f.Add([]byte("name: a\nversion: 1.0.0\nplatform: linux/amd64\nprograms: [x]\n"))
	f.Add([]byte("programs: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := modules.ParseAbout(data); err == nil && a.Check() != nil {
			t.Error("what was read makes no sense")
		}
	})
}

const aboutText = `name: av
version: 1.0.0
platform: linux/amd64
programs: [bin/av]
start: [bin/av, --serve]
endpoint: http://127.0.0.1:8080/health
bases: [urls]
agent: 1.1.0
notes: |
  First.
`

func TestAFolderThatIsNoModuleIsRefused(t *testing.T) {
	script := "#!/bin/sh\n"
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, about, program string
		mode                 os.FileMode
		want                 string // "": it is taken
	}{
		{"a script", aboutText, script, 0o755, ""},
		{"a key with a slip", aboutText + "programm: x\n", script, 0o755, "programm"},
		{"two documents", aboutText + "---\nname: b\n", script, 0o755, "second document"},
		{"a program that cannot be executed", aboutText, script, 0o644, "chmod"},
		{"a program that is cut off", aboutText, string(self[:len(self)/2]), 0o755, "cut off"},
		{"a program for another machine", strings.Replace(aboutText, "linux/amd64", "linux/s390x", 1), string(self), 0o755, "made for"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(dir+"/bin", 0o755); err != nil {
				t.Fatal(err)
			}
			for path, data := range map[string]string{"/module.yaml": row.about, "/bin/av": row.program} {
				if err := os.WriteFile(dir+path, []byte(data), row.mode); err != nil {
					t.Fatal(err)
				}
			}
			_, err := modules.ReadAbout(dir, false)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v", err)
			}
			if row.want == "cut off" || row.want == "made for" {
				if _, err := modules.ReadAbout(dir, true); err != nil {
					t.Errorf("taken as it is: %v", err)
				}
			}
		})
	}
}
