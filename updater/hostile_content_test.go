package updater_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

// odd is a version 4 that is signed with the true keys, all the way up, and
// must not be installed, or not as it says.
type odd struct {
	name string
	make func(f *forger, m *bases.Manifest, image string) // image: what version 4 should have been

	first, later string // outcomes; "": failed, then nothing new
	event        event.Code
	text, hint   string
	content      bool // what is signed is fetched, once
}

// contentChecks are those that a release fails although all of it is signed.
func contentChecks() []odd {
	set := func(f *forger, m *bases.Manifest, image string) {
		checks, records := m.Checks, m.Records
		*m = *f.next(image)
		m.Checks, m.Records = checks, records
	}
	truthful := func(m *bases.Manifest, image string) { m.Records = int64(strings.Count(image, "\n")) }
	cut := func(image string) string { return image[:strings.Index(image[len(image)/2:], "\n")+len(image)/2+1] }
	return []odd{
		{name: "a list cut in half", make: func(f *forger, m *bases.Manifest, image string) {
			set(f, m, cut(image))
		}, text: "records, the manifest says 8000"},
		{name: "a list cut in half and counted so, below the floor", make: func(f *forger, m *bases.Manifest, image string) {
			m.Checks.MinRecords = 7000
			set(f, m, cut(image))
			truthful(m, cut(image))
		}, text: "the floor is 7000"},
		{name: "a list cut off within a record", make: func(f *forger, m *bases.Manifest, image string) {
			set(f, m, image[:len(image)/2])
		}, text: "records, the manifest says 8000"},
		{name: "a list emptied but for a comment", make: func(f *forger, m *bases.Manifest, _ string) {
			set(f, m, "# nothing today\n")
		}, text: "it has 0 records"},
		{name: "a list with a record that must not be there", make: func(f *forger, m *bases.Manifest, image string) {
			m.Checks.MustLack = []string{"0.0.0.0/0"}
			set(f, m, image+"0.0.0.0/0\n")
			m.Records++
		}, text: `it has the record "0.0.0.0/0"`},
		{name: "a list without a record that must be there", make: func(f *forger, m *bases.Manifest, image string) {
			m.Checks.MustHave = []string{"eicar.example"}
			set(f, m, image)
		}, text: `it lacks the record "eicar.example"`},
		{name: "a list ten times as large", make: func(f *forger, m *bases.Manifest, image string) {
			set(f, m, strings.Repeat(image, 10))
		}, text: "it has 80000 records, the manifest says 8000"},
	}
}

// forgedContent are contents that lead elsewhere than their manifest says.
func forgedContent(t *testing.T) []odd {
	zeros := patch(t, nil, make([]byte, 16<<20))
	return []odd{
		{name: "a full image of another content", make: func(f *forger, m *bases.Manifest, image string) {
			m.Full = f.blob(patch(f.t, nil, []byte(strings.ToUpper(image))))
		}, text: "leads to another content"},
		{name: "a full image that is a decompression bomb", make: func(f *forger, m *bases.Manifest, _ string) {
			m.Full = f.blob(zeros)
		}, text: "corrupt delta"},
		{name: "a full image that is no delta", make: func(f *forger, m *bases.Manifest, image string) {
			m.Full = f.blob([]byte(image)[:2000])
		}, text: "corrupt delta"},
		{name: "a full image whose patch makes no progress", make: func(f *forger, m *bases.Manifest, _ string) {
			m.Full = f.blob(stuck(f.t, nil, m.Image.Size))
		}, text: "corrupt delta: two operations in a row give nothing"},
		{name: "a full image that leads to another start than the one signed", make: func(f *forger, m *bases.Manifest, image string) {
			start := strings.ToLower(image[:len(image)-1])
			m.Start = &bases.IndexVersion{Version: 1, Size: int64(len(start)), SHA256: sha256.Sum256([]byte(start))}
			m.Full = f.blob(patch(f.t, nil, []byte(strings.ToUpper(start))))
			m.Deltas = []bases.Delta{{From: 1, Blob: f.blob(patch(f.t, []byte(start), []byte(image)))}}
		}, text: "leads to another content"},
		{name: "a delta from the start that leads to another content", make: func(f *forger, m *bases.Manifest, image string) {
			start := image[:len(image)-1]
			m.Start = &bases.IndexVersion{Version: 1, Size: int64(len(start)), SHA256: sha256.Sum256([]byte(start))}
			m.Full = f.blob(patch(f.t, nil, []byte(start)))
			m.Deltas = []bases.Delta{{From: 1, Blob: f.blob(patch(f.t, []byte(start), []byte(strings.ToUpper(image))))}}
		}, text: "leads to another content"},
		{name: "a delta to the wrong content", make: func(f *forger, m *bases.Manifest, image string) {
			m.Deltas = []bases.Delta{{From: 2, Blob: f.blob(patch(f.t, f.old(), []byte(strings.ToUpper(image))[:m.Image.Size]))}}
		}, first: updater.Updated, event: event.DeltaFailed, text: "another content than the one signed", hint: "the next best way"},
		{name: "a delta that is a decompression bomb", make: func(f *forger, m *bases.Manifest, _ string) {
			m.Deltas = []bases.Delta{{From: 2, Blob: f.blob(zeros)}}
		}, first: updater.Updated, event: event.DeltaFailed, text: "corrupt delta", hint: "the next best way"},
		{name: "a delta whose patch makes no progress", make: func(f *forger, m *bases.Manifest, _ string) {
			m.Deltas = []bases.Delta{{From: 2, Blob: f.blob(stuck(f.t, f.old(), m.Image.Size))}}
		}, first: updater.Updated, event: event.DeltaFailed, text: "two operations in a row give nothing", hint: "the next best way"},
	}
}

// forgedManifests are refused before any content is fetched.
func forgedManifests() []odd {
	again := func(o odd) odd { o.later = updater.Failed; return o }
	return []odd{
		again(odd{name: "an image that no disk holds", make: func(_ *forger, m *bases.Manifest, _ string) { m.Image.Size = 1 << 40 },
			event: event.DiskFull, text: "not enough disk", hint: "free some space"}),
		again(odd{name: "an image of a size that overflows", make: func(_ *forger, m *bases.Manifest, _ string) { m.Image.Size = math.MaxInt64 },
			text: "the most is"}),
		again(odd{name: "a full image of a size that overflows", make: func(_ *forger, m *bases.Manifest, _ string) { m.Full.Size = math.MaxInt64 },
			text: "the most is"}),
		again(odd{name: "a start of a size that overflows", make: func(_ *forger, m *bases.Manifest, _ string) {
			m.Start = &bases.IndexVersion{Version: 3, Size: math.MaxInt64}
			m.Deltas = []bases.Delta{{From: 3, Blob: m.Full}}
		}, text: "the most is"}),
		again(odd{name: "a delta from the start of a size that overflows", make: func(_ *forger, m *bases.Manifest, _ string) {
			m.Start = &bases.IndexVersion{Version: 3, Size: m.Image.Size}
			m.Deltas = []bases.Delta{{From: 3, Blob: bases.Blob{Size: math.MaxInt64, SHA256: m.Full.SHA256}}}
		}, text: "the most is"}),
		again(odd{name: "a start from which no delta leads on", make: func(_ *forger, m *bases.Manifest, _ string) {
			m.Start = &bases.IndexVersion{Version: 3, Size: m.Image.Size}
		}, text: "from which no delta leads on"}),
		again(odd{name: "a manifest of a module in the place of a base", make: func(_ *forger, m *bases.Manifest, _ string) { m.Type = "module" },
			text: `type is "module", not "base"`}),
		again(odd{name: "a file name that climbs out", make: func(_ *forger, m *bases.Manifest, _ string) { m.Image.File = "../../../escape" },
			text: "is no file name"}),
		again(odd{name: "an absolute file name", make: func(_ *forger, m *bases.Manifest, _ string) { m.Image.File = "/escape" },
			text: "is no file name"}),
		again(odd{name: "a lower version than the one installed", make: func(_ *forger, m *bases.Manifest, _ string) { m.Version = 1 },
			text: "a release is undone by a higher version"}),
		again(odd{name: "another content under the number installed", make: func(_ *forger, m *bases.Manifest, _ string) { m.Version = 2 },
			text: "another content than the one installed"}),
	}
}

// old is version 2, which the endpoint has.
func (f *forger) old() []byte { return []byte(records(2, 8000)) }

// stuck is a patch in which operations give nothing: such a one must not
// keep an endpoint busy. It is searched, so that the format may change.
func stuck(t *testing.T, old []byte, size int64) []byte {
	t.Helper()
	for b := 255; b >= 0; b-- {
		data := append([]byte{0x10}, bytes.Repeat([]byte{byte(b)}, 12)...)
		if err := tryPatch(t, old, data, size); err != nil && strings.Contains(err.Error(), "give nothing") {
			return data
		}
	}
	t.Fatal("no patch without progress was found")
	return nil
}

func TestAgainstContentThatIsSignedButMustNotBeInstalled(t *testing.T) {
	s := newStage(t)
	rows := slices.Concat(contentChecks(), forgedContent(t), forgedTrees())
	for i := range rows {
		rows[i].content = true
	}
	for _, o := range slices.Concat(rows, forgedManifests()) {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			f := a.forger()
			image := records(4, 8000)
			m := f.next(image)
			o.make(f, m, image)
			f.release(m)
			a.refuses(o, m)
			a.recovers(f)
		})
	}
}

// refuses runs three times against a version that is odd.
func (a *attack) refuses(o odd, m *bases.Manifest) {
	a.t.Helper()
	asked := a.watchEngine()
	outcomes := [3]string{o.first, o.later, o.later}
	installed := int64(2)
	for i, otherwise := range []string{updater.Failed, updater.NothingNew, updater.NothingNew} {
		if outcomes[i] == "" {
			outcomes[i] = otherwise
		}
	}
	if o.event == "" {
		o.event, o.hint = event.BaseRefused, "tell the publisher"
	}
	if o.first == updater.Updated {
		a.world.content["list/4"] = records(4, 8000)
		installed = 4
	}
	for i, want := range outcomes {
		most := int64(small)
		if i == 0 && o.content {
			most += m.Full.Size
			for _, d := range m.Deltas {
				most += d.Size
			}
		}
		res := a.outcome(want, a.mirror)
		if res.Bytes > most || res.Requests > 12 {
			a.t.Errorf("run %d: %d bytes and %d requests were spent, at most %d and 12 are right", i+1, res.Bytes, res.Requests, most)
		}
		if i == 0 || want == updater.Failed {
			a.told(o.event, o.text, o.hint)
		} else if o.first == "" && !strings.Contains(strings.Join(res.Notes, "\n"), "is held back") {
			a.t.Errorf("the result does not say that a version is held back: %q", res.Notes)
		}
		a.expect("list", installed)
		a.checkTidy()
	}
	if n := asked(); installed == 2 && n != 0 {
		a.t.Errorf("an engine was asked %d times about what must not reach it", n)
	}
	a.nothingOutside()
}

// watchEngine gives the base an engine, and counts how often it is asked to
// try or to take a version.
func (a *attack) watchEngine() func() int {
	log := filepath.Join(a.t.TempDir(), "asked")
	note := []string{"/bin/sh", "-c", `echo "$FRESHET_VERSION" >>"$0"`, log}
	a.engine = &modules.Engine{Base: "list", TryCommand: note, TookCommand: note}
	return func() int {
		data, _ := os.ReadFile(log)
		return strings.Count(string(data), "\n")
	}
}

// nothingOutside asserts that no image wrote where it must not.
func (a *attack) nothingOutside() {
	a.t.Helper()
	if _, err := os.Lstat("/escape"); err == nil {
		a.t.Error("/escape was written")
	}
	filepath.WalkDir(filepath.Dir(a.world.dir), func(path string, _ fs.DirEntry, _ error) error {
		if strings.Contains(path, "escape") {
			a.t.Errorf("%s was written", path)
		}
		return nil
	})
}

// recovers asserts that the publisher's next version is installed.
func (a *attack) recovers(f *forger) {
	a.t.Helper()
	a.engine = nil
	image := records(5, 8000)
	a.world.content["list/5"] = image
	good := manifestIn(a.t, a.good.dir, "list")
	good.Version, good.Published, good.Start, good.Deltas, good.Index = 5, f.now, nil, nil, nil
	good.Image.Size, good.Image.SHA256 = int64(len(image)), sha256.Sum256([]byte(image))
	good.Full = f.blob(patch(a.t, nil, []byte(image)))
	f.release(good)
	a.outcome(updater.Updated, a.mirror)
	a.expect("list", 5)
	a.checkTidy()
}

func TestAManifestSignedByTheWrongRole(t *testing.T) {
	s := newStage(t)
	rows := []struct {
		name    string
		forge   func(f *forger, manifest []byte)
		outcome string
		text    string
	}{
		{"the targets role signs a base", func(f *forger, manifest []byte) {
			f.target("targets", "bases/list.json", manifest)
			f.sign("targets", "snapshot", "timestamp")
		}, updater.Failed, `its manifest is signed by role "targets"`},
		{"the modules role signs a base", func(f *forger, manifest []byte) {
			delete(f.roles["bases"].Signed.Targets, "bases/list.json")
			f.target("modules", "bases/list.json", manifest)
			f.sign("bases", "modules", "snapshot", "timestamp")
		}, updater.NothingNew, ""},
		{"the bases role signs under a name that is none", func(f *forger, manifest []byte) {
			for _, path := range []string{"bases/LIST.json", "bases/lıst.json", "bases/../escape.json", "bases/..json", "list.json"} {
				f.target("bases", path, manifest)
			}
			delete(f.roles["bases"].Signed.Targets, "bases/list.json")
			f.sign("bases", "snapshot", "timestamp")
		}, updater.NothingNew, ""},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			f := a.forger()
			manifest, err := json.Marshal(f.next(records(4, 8000)))
			if err != nil {
				t.Fatal(err)
			}
			r.forge(f, manifest)
			for range 3 {
				if res := a.outcome(r.outcome, a.mirror); res.Bytes > small {
					t.Errorf("%d bytes were spent", res.Bytes)
				}
				if r.text != "" {
					a.told(event.BaseRefused, r.text, "tell the publisher")
				}
				a.expect("list", 2)
			}
			a.nothingOutside()
			if installed, _, err := a.world.updater().Installed(); err != nil || len(installed) != 1 {
				t.Errorf("installed: %v, %v", installed, err)
			}
		})
	}
}
