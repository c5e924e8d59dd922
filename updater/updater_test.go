package updater_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

func TestAnAgentComesFromAnyVersionToTheNewest(t *testing.T) {
	w := newWorld(t)
	version := 0
	for _, behind := range []int{1, 1, 3, 10} { // the first comes from nothing
		for range behind {
			version++
			w.publish("list", records(version, 3000))
		}
		res := w.update(updater.Updated)
		w.expect("list", int64(version))
		if version > 1 && res.Bases[0].Bytes*5 > res.Bases[0].Full {
			t.Errorf("%d behind: %d bytes fetched, the full image has %d", behind, res.Bases[0].Bytes, res.Bases[0].Full)
		}
		w.checkTidy()
	}
}

func TestNothingNewCostsTwoRequestsAndAKilobyte(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	w.update(updater.Updated)
	res := w.update(updater.NothingNew)
	if res.Requests != 2 || res.Bytes > 1000 {
		t.Errorf("%d requests, %d bytes", res.Requests, res.Bytes)
	}
}

func TestAFolderIsASourceToo(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	folder := func(u *updater.Updater) { u.Sources = []source.Source{&source.Folder{Path: w.repo.Dir}} }
	w.update(updater.Updated, folder)
	w.publish("list", records(2, 500))
	w.update(updater.Updated, folder)
	w.expect("list", 2)
}

func TestATreeIsUpdatedAndItsUnchangedFilesAreShared(t *testing.T) {
	w := newWorld(t)
	tree := t.TempDir()
	for i := range 40 {
		os.WriteFile(filepath.Join(tree, fmt.Sprintf("rule-%02d.yml", i)), bytes.Repeat([]byte{byte('a' + i%26)}, 3000+i), 0o644)
	}
	put := func() {
		t.Helper()
		if _, err := w.repo.Publish(t.Context(), publishTree(tree)); err != nil {
			t.Fatal(err)
		}
	}
	put()
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.Updated {
		t.Fatalf("%+v", res)
	}
	os.WriteFile(filepath.Join(tree, "rule-07.yml"), []byte("changed\n"), 0o644)
	os.Remove(filepath.Join(tree, "rule-08.yml"))
	put()
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.Updated {
		t.Fatalf("%+v", res)
	}
	current := filepath.Join(w.dir, "state/bases/rules/current")
	entries, err := os.ReadDir(current)
	if err != nil || len(entries) != 39 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		want, _ := os.ReadFile(filepath.Join(tree, e.Name()))
		got, _ := os.ReadFile(filepath.Join(current, e.Name()))
		if !bytes.Equal(want, got) {
			t.Errorf("%s differs", e.Name())
		}
	}
	if n := linksOf(t, filepath.Join(current, "rule-00.yml")); n != 2 {
		t.Errorf("an unchanged file has %d links, want 2", n)
	}
}

// TestADamagedImageIsGoneAround has the full image be that of the version at
// hand: the delta that failed from the damaged one leads on from the good one.
func TestADamagedImageIsGoneAround(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 3000))
	w.update(updater.Updated)
	w.publish("list", records(2, 3000))
	path := filepath.Join(w.dir, "state/bases/list/current/list.txt")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[100] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.Updated {
		t.Fatalf("%+v; events %v", res, w.events)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != records(2, 3000) {
		t.Errorf("the content is not that of version 2: %v", err)
	}
	if !w.saw(event.DeltaFailed) {
		t.Errorf("no event tells it: %v", w.events)
	}
}

// TestADeltaOnFromTheFullImageThatIsSpoilt has the one delta that the full image
// needs too be spoilt: that is not fetched in vain, and the next version heals.
func TestADeltaOnFromTheFullImageThatIsSpoilt(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 3000))
	w.update(updater.Updated)
	w.publish("list", records(2, 3000))
	m := manifestIn(t, w.repo.Dir, "list")
	path := filepath.Join(w.repo.Dir, m.FromStart().Path())
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if res := w.update(updater.Failed); res.Bytes >= m.Full.Size {
		t.Errorf("%d bytes were fetched, the full image has %d", res.Bytes, m.Full.Size)
	}
	w.expect("list", 1)
	w.checkTidy()
	w.publish("list", records(3, 3000))
	w.update(updater.Updated)
	w.expect("list", 3)
	if m := manifestIn(t, w.repo.Dir, "list"); m.Start == nil {
		t.Error("the full image is not that of the first version")
	}
}

func TestADeltaThatFailsIsGoneAroundWithoutALoop(t *testing.T) {
	rows := []struct {
		name  string
		spoil func(path string, data []byte)
	}{
		{"a missing delta", func(path string, _ []byte) { os.Remove(path) }},
		{"a damaged delta", func(path string, data []byte) {
			os.WriteFile(path, append(data[:len(data)-1], data[len(data)-1]^1), 0o644)
		}},
		{"a delta cut short", func(path string, data []byte) { os.WriteFile(path, data[:len(data)/2], 0o644) }},
		{"an HTML page instead of the delta", func(path string, _ []byte) { os.WriteFile(path, []byte("<html>hello</html>"), 0o644) }},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("list", records(1, 3000), daysAgo(1))
			w.update(updater.Updated)
			w.publish("list", records(2, 3000))
			plan, err := w.updater().Plan(background(w))
			if err != nil {
				t.Fatal(err)
			}
			step := plan.Bases[0].Steps[0]
			path := filepath.Join(w.repo.Dir, step.Path())
			data, err := os.ReadFile(path)
			if err != nil || step.From != 1 {
				t.Fatalf("the plan is no delta: %+v, %v", step, err)
			}
			r.spoil(path, data)
			res := w.update(updater.Updated)
			w.expect("list", 2)
			if !w.saw(event.DeltaFailed) {
				t.Errorf("no event tells it: %v", w.events)
			}
			if most := plan.Bases[0].Full + 2*step.Size + 8000; res.Bytes > most {
				t.Errorf("%d bytes spent, at most %d expected", res.Bytes, most)
			}
			w.checkTidy()
		})
	}
}

func TestABrokenDownloadIsResumedFromAnotherSource(t *testing.T) {
	w := newWorld(t)
	w.publish("list", strings.Repeat(records(1, 3000), 1))
	var first string
	w.serve(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/blobs/") || first != "" {
			return false
		}
		first = r.URL.Path
		data, _ := os.ReadFile(filepath.Join(w.repo.Dir, r.URL.Path))
		rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		rw.Write(data[:len(data)/2]) // and the connection breaks
		return true
	})
	var ranges []string
	mirror := newMirror(t, w, func(r *http.Request) {
		if r.Header.Get("Range") != "" {
			ranges = append(ranges, r.Header.Get("Range"))
		}
	})
	w.update(updater.Updated, func(u *updater.Updater) {
		u.Sources = append(u.Sources, &source.HTTP{URL: mirror.URL, Proxy: "none", Count: u.Count})
	})
	w.expect("list", 1)
	if len(ranges) != 1 || ranges[0] == "bytes=0-" {
		t.Errorf("ranges asked for: %v", ranges)
	}
}

func TestTheNextSourceIsAskedWhen(t *testing.T) {
	rows := []struct {
		name  string
		fail  func(rw http.ResponseWriter, r *http.Request)
		event event.Code
	}{
		{"the first answers 500", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }, event.SourceFailed},
		{"the first forbids everything", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(403) }, event.SourceFailed},
		{"the first answers HTML", func(rw http.ResponseWriter, _ *http.Request) { rw.Write([]byte("<html>welcome to the hotel</html>")) }, ""},
		{"the first hangs up", func(rw http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, event.SourceFailed},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("list", records(1, 500))
			mirror := newMirror(t, w, nil)
			w.serve(func(rw http.ResponseWriter, q *http.Request) bool { r.fail(rw, q); return true })
			w.update(updater.Updated, func(u *updater.Updater) {
				u.Sources = append(u.Sources, &source.HTTP{URL: mirror.URL, Proxy: "none", Count: u.Count})
			})
			w.expect("list", 1)
			if r.event != "" && !w.saw(r.event) {
				t.Errorf("no %s among %v", r.event, w.events)
			}
		})
	}
}

func TestAMirrorThatIsBehindIsNoFailedUpdate(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(w.repo.Dir)); err != nil {
		t.Fatal(err)
	}
	w.publish("list", records(2, 500))
	w.update(updater.Updated)
	behind := &source.Folder{Path: old}
	w.update(updater.NothingNew, func(u *updater.Updater) { u.Sources = []source.Source{behind} })
	if !w.saw(event.SourceBehind) || w.saw(event.UpdateFailed) {
		t.Errorf("events: %v", w.events)
	}
	w.publish("list", records(3, 500))
	w.update(updater.Updated, func(u *updater.Updater) { u.Sources = append([]source.Source{behind}, u.Sources...) })
	w.expect("list", 3)
}

func TestAFailedUpdateLeavesTheInstalledVersionInUse(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	w.update(updater.Updated)
	w.publish("list", records(2, 500))
	w.serve(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/blobs/") {
			rw.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	res := w.update(updater.Failed)
	w.expect("list", 1)
	if !w.saw(event.UpdateFailed) || !strings.Contains(res.Error, "502") {
		t.Errorf("result %+v, events %v", res, w.events)
	}
	w.serve(nil)
	w.update(updater.Updated)
	w.expect("list", 2)
}

func TestARollbackIsOfflineAndHeldUntilANewerVersionOrARelease(t *testing.T) {
	w := newWorld(t)
	for v := 1; v <= 3; v++ {
		w.publish("list", records(v, 500))
		w.update(updater.Updated)
	}
	w.server.CloseClientConnections()
	w.serve(func(rw http.ResponseWriter, _ *http.Request) bool {
		t.Error("the network was asked")
		rw.WriteHeader(500)
		return true
	})
	changes, err := w.updater().RollBack(background(w), nil)
	if err != nil || len(changes) != 1 || changes[0].From != 3 || changes[0].To != 2 {
		t.Fatalf("%+v, %v", changes, err)
	}
	w.expect("list", 2)
	w.check()
	w.serve(nil)
	t.Run("the version left is not installed again", func(t *testing.T) {
		res := w.update(updater.NothingNew)
		w.expect("list", 2)
		if len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "3 is held back") {
			t.Errorf("the result does not tell it: %v", res.Notes)
		}
	})
	t.Run("a release installs it again, without a download", func(t *testing.T) {
		if _, err := w.updater().Release(background(w), "list"); err != nil {
			t.Fatal(err)
		}
		res := w.update(updater.Updated)
		w.expect("list", 3)
		if res.Bases[0].Bytes != 0 {
			t.Errorf("%d bytes were fetched", res.Bases[0].Bytes)
		}
	})
	t.Run("a newer version ends the hold", func(t *testing.T) {
		if _, err := w.updater().RollBack(background(w), []string{"list"}); err != nil {
			t.Fatal(err)
		}
		w.publish("list", records(4, 500))
		w.update(updater.Updated)
		w.expect("list", 4)
	})
}

func TestRollingBackWhatHasNoVersionBeforeIsAnError(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	w.update(updater.Updated)
	for _, names := range [][]string{nil, {"list"}, {"other"}} {
		if _, err := w.updater().RollBack(background(w), names); err == nil {
			t.Errorf("%v: no error", names)
		}
	}
	w.expect("list", 1)
}

func TestAnEnginesVetoKeepsTheVersionOut(t *testing.T) {
	w := newWorld(t)
	engine := &modules.Engine{Base: "list", TryCommand: []string{"/bin/sh", "-c", `! grep -q poison "$FRESHET_DIR/list.txt"`}}
	with := func(u *updater.Updater) { u.Engines = map[string]*modules.Engine{"list": engine} }
	w.publish("list", records(1, 500))
	w.update(updater.Updated, with)
	w.publish("list", records(2, 500)+"poison\n")
	w.publish("other", records(1, 100))
	res := w.update(updater.Partly, with)
	w.expect("list", 1)
	w.expect("other", 1)
	if !w.saw(event.BaseRefused) {
		t.Errorf("events %v, result %+v", w.events, res)
	}
	w.update(updater.NothingNew, with) // it is not fetched again each hour
	w.publish("list", records(3, 500))
	w.update(updater.Updated, with)
	w.expect("list", 3)
}

func TestAnEngineThatFallsIllIsGivenItsOldVersionBack(t *testing.T) {
	w := newWorld(t)
	log := filepath.Join(t.TempDir(), "took")
	engine := &modules.Engine{
		Base:          "list",
		TookCommand:   []string{"/bin/sh", "-c", `echo "$FRESHET_VERSION" >>"$0"`, log},
		HealthCommand: []string{"/bin/sh", "-c", `! grep -q poison "$0"/bases/list/current/list.txt 2>/dev/null`, filepath.Join(w.dir, "state")},
		WatchFor:      30e6, HealthEvery: 10e6,
	}
	with := func(u *updater.Updater) { u.Engines = map[string]*modules.Engine{"list": engine} }
	w.publish("list", records(1, 500))
	w.update(updater.Updated, with)
	w.publish("list", records(2, 500)+"poison\n")
	w.publish("other", records(1, 100))
	w.update(updater.Partly, with)
	w.expect("list", 1)
	w.expect("other", 1)
	if !w.saw(event.BaseRolledBack) {
		t.Errorf("events %v", w.events)
	}
	if data, _ := os.ReadFile(log); string(data) != "1\n2\n1\n" {
		t.Errorf("the engine was told %q", data)
	}
	w.update(updater.NothingNew, with)
	w.expect("list", 1)
}

func TestANewRootOfTrustIsOneOfTheSameRepository(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	w.update(updater.Updated)
	if _, err := w.repo.Renew(background(w), "root"); err != nil {
		t.Fatal(err)
	}
	w.publish("list", records(2, 100))
	w.update(updater.Updated)
	w.expect("list", 2)
	var ids []string
	for _, n := range []string{"1", "2"} {
		root, err := os.ReadFile(filepath.Join(w.repo.Dir, "metadata", n+".root.json"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, updater.RepositoryID(root))
	}
	if ids[0] != ids[1] || len(ids[0]) != 16 {
		t.Errorf("repository IDs %v", ids)
	}
}

func TestABaseThatTheRepositoryDoesNotHaveIsToldAndIsNoFailure(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	wanting := func(names ...string) func(*updater.Updater) {
		return func(u *updater.Updater) { u.Bases = names }
	}
	res := w.update(updater.Failed, wanting("lsit"))
	if !strings.Contains(res.Error, "it has list") {
		t.Errorf("with nothing installed: %q", res.Error)
	}
	w.update(updater.Updated, wanting("list", "lsit"))
	w.expect("list", 1)
	res = w.update(updater.NothingNew, wanting("list", "lsit"))
	if !w.saw(event.BaseUnknown) || len(res.Bases) != 1 || !res.Bases[0].Unknown {
		t.Errorf("events %v, result %+v", w.events, res)
	}
}

func TestACommandThatCannotBeRunIsNoJudgementOfTheVersion(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	w.update(updater.Updated)
	w.publish("list", records(2, 100))
	engine := &modules.Engine{Base: "list", TookCommand: []string{"/nonexistent/command"}}
	w.update(updater.Updated, func(u *updater.Updater) { u.Engines = map[string]*modules.Engine{"list": engine} })
	w.expect("list", 2)
	if !w.saw(event.EngineFailed) {
		t.Errorf("events %v", w.events)
	}
}
