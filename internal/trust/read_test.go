package trust_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
)

// newKept is an endpoint with each kind of file that it may keep: roots, a
// complete set, a newer one that was seen, a floor that no timestamp says. old
// lags behind all of it.
func newKept(t *testing.T) (e *endpoint, old *trusttest.Source) {
	t.Helper()
	e = newEndpoint(t)
	e.Sets = true
	e.synced(start, good)
	e.sign(start)
	old = e.repo.Mirror()
	e.repo.Publish(root)
	e.repo.PublishAll()
	e.sign(start.Add(20 * day)) // too far ahead: the floor is a file of its own
	e.complete(e.mustTarget(e.repo))
	e.relay(e.newer())
	return e, old
}

func (e *endpoint) newer() *trusttest.Source {
	e.repo.PublishAll()
	return e.repo.Mirror()
}

// mustTarget refreshes and looks the base up.
func (e *endpoint) mustTarget(f trust.Fetcher) *trust.View {
	e.t.Helper()
	v := e.mustRefresh(f)
	if _, err := v.Target(e.t.Context(), f, "bases/maltrail.json"); err != nil {
		e.t.Fatal(err)
	}
	return v
}

// files are all that is stored, by their paths below Dir.
func (e *endpoint) files() map[string]string {
	e.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(e.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(e.Dir, path)
		all[rel] = string(data)
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return all
}

// wantStorage refreshes and looks the base up, which is to fail by the disk and to
// leave all that is stored as it is.
func (e *endpoint) wantStorage(f trust.Fetcher) {
	e.t.Helper()
	before := e.files()
	v, err := e.Refresh(e.t.Context(), f)
	if err == nil {
		_, err = v.Target(e.t.Context(), f, "bases/maltrail.json")
	}
	if trust.KindOf(err) != trust.Storage {
		e.t.Errorf("got %v, want an error of the disk", err)
	}
	if after := e.files(); !maps.Equal(before, after) {
		e.t.Error("what is stored was changed")
	}
}

// TestAFileThatTheDiskDoesNotGiveLowersNothing goes through each file that is
// stored and each way in which it is not to be had.
func TestAFileThatTheDiskDoesNotGiveLowersNothing(t *testing.T) {
	e, _ := newKept(t)
	names := slices.Sorted(maps.Keys(e.files()))
	for _, must := range []string{"root.json", "root_history/2.root.json", "timestamp.json", "snapshot.json", "targets.json", "bases.json", "floor", "last-complete"} {
		if !slices.Contains(names, must) {
			t.Fatalf("%s is not stored: %q", must, names)
		}
	}
	for _, name := range names {
		for _, errno := range []unix.Errno{unix.EIO, unix.EACCES, unix.EMFILE} {
			if errno != unix.EIO && name != "timestamp.json" {
				continue // all that the disk says comes by one function
			}
			t.Run(name+" "+errno.Error(), func(t *testing.T) {
				e, old := newKept(t)
				newest := e.repo.Mirror()
				asked := false
				e.Disk = &durable.Disk{Read: func(path string) error {
					if path != filepath.Join(e.Dir, name) {
						return nil
					}
					asked = true
					return &fs.PathError{Op: "open", Path: path, Err: errno}
				}}
				switch name {
				case "root_history/1.root.json": // it is read where a signature is not of the newest root
					e.mustRefresh(newest)
				case "targets.json", "bases.json": // what names them is newer, and right
					before := e.stored(name)
					v, err := e.Refresh(t.Context(), newest)
					if err == nil {
						_, err = v.Target(t.Context(), newest, "bases/maltrail.json")
					}
					if trust.KindOf(err) != trust.Storage || !bytes.Equal(e.stored(name), before) {
						t.Errorf("got %v, want an error of the disk and the file as it is", err)
					}
				default:
					e.wantStorage(old)
					e.wantStorage(newest)
				}
				if !asked && name != "root_history/1.root.json" {
					t.Error("it was not read")
				}
				asked = false
				if _, err := e.Load(); asked != (trust.KindOf(err) == trust.Storage) {
					t.Errorf("without a source: %v", err)
				}
				e.Disk = nil
				e.wantBehind(old)
				e.mustTarget(newest)
			})
		}
	}
}

// TestAMarkWhoseKeysCannotBeReadIsNoRotatedOne: a root between that of a stored
// timestamp and the newest may say that its keys were rotated.
func TestAMarkWhoseKeysCannotBeReadIsNoRotatedOne(t *testing.T) {
	e := newFreshEndpoint(t)
	e.repo.RotateKeys(timestamp)
	e.repo.Publish(root, timestamp)
	e.recovered = true
	roots := e.repo.Mirror()
	delete(roots.Files, "metadata/timestamp.json")
	if _, err := e.refresh(roots); trust.KindOf(err) != trust.Unavailable {
		t.Fatalf("a source of roots alone: %v", err)
	}
	e.Disk = &durable.Disk{Read: func(path string) error {
		if strings.HasSuffix(path, "/1.root.json") {
			return unix.EIO
		}
		return nil
	}}
	e.wantStorage(e.repo)
	e.Disk = nil
	e.mustRefresh(e.repo)
}

// TestAFileOfANewerVersionIsLeft has our own files say that a newer reader is needed.
func TestAFileOfANewerVersionIsLeft(t *testing.T) {
	for _, name := range []string{"floor", "last-complete"} {
		t.Run(name, func(t *testing.T) {
			e, old := newKept(t)
			newest := e.repo.Mirror()
			is := string(e.stored(name))
			e.damage(name, strings.Replace(is, "{", `{"format":2,"min_version":"3.1.0",`, 1))
			e.wantStorage(old)
			e.wantStorage(newest)
			var newer *durable.NewerError
			if _, err := e.Refresh(t.Context(), newest); !errors.As(err, &newer) || newer.Version != "3.1.0" {
				t.Errorf("it does not say which version reads it: %v", err)
			}
			e.damage(name, strings.Replace(is, "{", `{"format":2,"min_reader":1,`, 1))
			e.wantBehind(old)
			e.mustRefresh(newest)
		})
	}
}

// TestADamagedTimestampLeavesTheMark of the last complete set: its versions, and
// its time of signing.
func TestADamagedTimestampLeavesTheMark(t *testing.T) {
	e := newEndpoint(t)
	e.Sets = true
	e.synced(start, bad)
	e.sign(start)
	old := e.repo.Mirror()
	e.sign(start.Add(20 * day))
	e.complete(e.mustRefresh(e.repo))
	e.recovered = true // the timestamp's own version is lost
	for name, damaged := range map[string]string{"cut": "{", "without signatures": `{"signatures":[],"signed":{}}`} {
		e.damage("timestamp.json", damaged)
		e.wantFloor(name+":", start.Add(20*day))
		if now := e.Now(); !now.Equal(start.Add(20 * day)) {
			t.Errorf("%s: now is %v", name, now)
		}
		e.wantBehind(old)
	}
}

// unsigned has a stored role say something else, under signatures that it has.
func (e *endpoint) unsigned(name, was, is string) {
	e.t.Helper()
	data := string(e.stored(name))
	if strings.Count(data, was) == 0 {
		e.t.Fatalf("%s does not say %s", name, was)
	}
	e.damage(name, strings.Replace(data, was, is, 1))
}

// TestAMarkThatNobodySignedIsNoRotatedOne: where the stored timestamp is signed by
// no root that was ever trusted, the snapshot remains a mark. Keys that were
// replaced would void both.
func TestAMarkThatNobodySignedIsNoRotatedOne(t *testing.T) {
	e := newFreshEndpoint(t)
	e.repo.Publish(root) // there is an earlier one to ask
	e.repo.Publish(snapshot, timestamp)
	old := e.repo.Mirror()
	e.repo.Publish(snapshot, timestamp)
	e.mustRefresh(e.repo)
	e.recovered = true // the timestamp's own version is lost
	e.unsigned("timestamp.json", `"version":4}`, `"version":3}`)
	e.wantBehind(old)
	e.unsigned("timestamp.json", `"version":3}`, `"version":9}`) // nor is it a mark: the publisher is not shut out
	v := e.mustRefresh(e.repo)
	if !slices.ContainsFunc(v.Notes(), func(err error) bool {
		return trust.KindOf(err) == trust.Damaged && trust.RoleOf(err) == timestamp
	}) {
		t.Errorf("it is not said that the mark was damaged: %v", v.Notes())
	}
}

// TestStoredRolesAreVerified has each stored role say something that nobody signed:
// it is not believed, with a source or without one.
func TestStoredRolesAreVerified(t *testing.T) {
	for _, row := range []struct{ name, role string }{
		{"timestamp.json", timestamp}, {"snapshot.json", snapshot}, {"targets.json", targets}, {"bases.json", "bases"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			expires := start.AddDate(50, 0, 0).Format(time.RFC3339)
			data := string(e.stored(row.name))
			at := strings.Index(data, `"expires":"`)
			if at < 0 {
				t.Fatal("it does not expire")
			}
			was := data[at : at+len(`"expires":"2026-03-01T12:00:00Z"`)]
			e.unsigned(row.name, was, `"expires":"`+expires+`"`)
			v, err := e.Load()
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Target(t.Context(), nil, "bases/maltrail.json")
			believed := row.role == timestamp || row.role == snapshot // the files below are signed nevertheless
			if (err == nil) != believed {
				t.Errorf("without a source: %v", err)
			}
			if !slices.ContainsFunc(v.Notes(), func(err error) bool {
				return trust.KindOf(err) == trust.Damaged && trust.RoleOf(err) == row.role
			}) {
				t.Errorf("it is believed without a source: %v", v.Notes())
			}
			e.mustTarget(e.repo)
			if got := string(e.stored(row.name)); got != data {
				t.Error("what nobody signed is kept")
			}
		})
	}
	t.Run("root.json", func(t *testing.T) {
		e := newFreshEndpoint(t)
		data := string(e.stored("root.json"))
		at := strings.Index(data, `"expires":"`)
		e.unsigned("root.json", data[at:at+len(`"expires":"2026`)], `"expires":"2099`)
		v := e.mustTarget(e.repo)
		if got := string(e.stored("root.json")); got != data || v.Versions()[metadata.ROOT] != 1 {
			t.Error("a root that nobody signed is kept")
		}
	})
}
