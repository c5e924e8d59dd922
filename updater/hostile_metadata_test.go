package updater_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// later moves the endpoint's clock.
func (a *attack) later(d time.Duration) {
	at := time.Now().Add(d)
	a.now = func() time.Time { return at }
}

// release publishes a next version at a mirror, as its true publisher does.
func (a *attack) release(m *mirror) int64 {
	a.t.Helper()
	version := manifestIn(a.t, m.dir, "list").Version + 1
	a.repo = &publish.Repository{Dir: m.dir, Clock: &clock.Clock{Wall: a.now}}
	a.publish("list", records(int(version), 8000))
	return version
}

// outcome runs once and expects an outcome.
func (a *attack) outcome(want string, mirrors ...*mirror) updater.Result {
	a.t.Helper()
	res := a.run(mirrors...)
	if res.Outcome != want {
		a.t.Fatalf("%q (%s), want %q\n%s", res.Outcome, res.Error, want, a.events())
	}
	return res
}

// TestAgainstStolenOnlineKeys lets an attacker sign with the keys that lie
// online. What must be signed offline, and what was seen, still holds.
func TestAgainstStolenOnlineKeys(t *testing.T) {
	s := newStage(t)
	rows := []struct {
		name  string
		forge func(f *forger)
		event event.Code
		text  string
		hint  string
	}{
		{"rollback: a new snapshot lists an older list of bases", func(f *forger) {
			f.snapshot.Signed.Meta["bases.json"] = f.named("2.bases.json", 2)
			f.sign("snapshot", "timestamp")
		}, event.SourceHostile, "bases.json is listed at version 2, but version 3 was seen", "do not use this mirror"},
		{"rollback: a new snapshot leaves the list of bases out", func(f *forger) {
			delete(f.snapshot.Signed.Meta, "bases.json")
			f.sign("snapshot", "timestamp")
		}, event.SourceHostile, "is left out", "do not use this mirror"},
		{"rollback: a new timestamp names an older snapshot", func(f *forger) {
			f.timestamp.Signed.Meta["snapshot.json"] = f.named("2.snapshot.json", 2)
			f.sign("timestamp")
		}, event.SourceHostile, "names snapshot 2, but snapshot 3 was seen", "do not use this mirror"},
		{"too few signatures on the targets", func(f *forger) {
			f.keys["targets"] = f.keys["targets"][:1]
			f.sign("targets", "snapshot", "timestamp")
		}, event.SourceHostile, "targets metadata: bad-signature", "do not use this mirror"},
		{"the wrong key on the list of bases", func(f *forger) {
			_, f.keys["bases"][0] = newKey(f.t)
			f.sign("bases", "snapshot", "timestamp")
		}, event.SourceHostile, "bases metadata: bad-signature", "do not use this mirror"},
		{"one key twice instead of two keys", func(f *forger) {
			f.keys["targets"] = []signature.Signer{f.keys["targets"][0]}
			f.sign("targets")
			m := f.roles["targets"]
			m.Signatures = append(m.Signatures, m.Signatures[0])
			data, err := m.ToBytes(false)
			if err != nil {
				f.t.Fatal(err)
			}
			f.snapshot.Signed.Meta["targets.json"] = f.write("targets", m.Signed.Version, data)
			f.sign("snapshot", "timestamp")
		}, event.SourceHostile, "targets metadata: bad-signature", "do not use this mirror"},
		{"the list of bases in the place of the targets", func(f *forger) {
			data, err := os.ReadFile(filepath.Join(f.dir, "metadata/4.bases.json"))
			if err != nil {
				f.t.Fatal(err)
			}
			f.snapshot.Signed.Meta["targets.json"] = f.write("targets", 9, data)
			f.sign("snapshot", "timestamp")
		}, event.SourceHostile, "targets metadata: bad-signature", "do not use this mirror"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			r.forge(a.forger())
			a.endure(hostile{event: r.event, text: r.text, hint: r.hint})
			newest := a.release(a.good)
			f := loadForger(t, a.good.dir, filepath.Join(s.dir, "keys"))
			f.rotate("snapshot")
			f.rotate("timestamp")
			f.sign("root", "snapshot", "timestamp")
			a.outcome(updater.Updated, a.mirror, a.good)
			a.expect("list", newest)
		})
	}
}

// named says how the metadata above names a file that is there.
func (f *forger) named(name string, version int64) *metadata.MetaFiles {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, "metadata", name))
	if err != nil {
		f.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// TestAFastForwardIsRecoveredFromByNewKeys: whoever held the keys signed the
// highest versions; the publisher replaces the keys and begins low again.
func TestAFastForwardIsRecoveredFromByNewKeys(t *testing.T) {
	s := newStage(t)
	for _, roles := range [][]string{{"timestamp"}, {"snapshot", "timestamp"}, {"bases", "snapshot", "timestamp"}} {
		t.Run(fmt.Sprint(roles), func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			f := a.forger()
			f.timestamp.Signed.Version = 1 << 60
			if len(roles) > 1 {
				f.snapshot.Signed.Version = 1 << 60
			}
			if len(roles) > 2 {
				f.roles["bases"].Signed.Version = 1 << 60
			}
			f.sign(roles...)
			a.outcome(updater.Updated, a.mirror) // it is signed: nothing tells it from a release
			a.release(a.good)
			for range 3 {
				if res := a.outcome(updater.NothingNew, a.good); res.Bytes > small {
					t.Errorf("%d bytes were spent", res.Bytes)
				}
				a.told(event.SourceBehind, "timestamp", "administrator")
				a.expect("list", 3)
			}
			good := loadForger(t, a.good.dir, filepath.Join(s.dir, "keys"))
			for _, role := range []string{"snapshot", "timestamp"} {
				good.rotate(role)
			}
			good.sign("root", "snapshot", "timestamp")
			a.outcome(updater.Updated, a.good)
			a.expect("list", 4)
			a.outcome(updater.NothingNew, a.mirror, a.good)
			a.told(event.SourceHostile, "bad-signature", "do not use this mirror")
		})
	}
}

// rotate gives a role another key, in the root that is signed next.
func (f *forger) rotate(role string) {
	f.t.Helper()
	key, signer := newKey(f.t)
	f.root.Signed.Roles[role].KeyIDs = nil
	if err := f.root.Signed.AddKey(key, role); err != nil {
		f.t.Fatal(err)
	}
	f.keys[role] = []signature.Signer{signer}
}

// signedAbove are the roles to sign when one changes, in their order.
var signedAbove = map[string][]string{
	"root":      {"root"},
	"targets":   {"targets", "snapshot", "timestamp"},
	"bases":     {"bases", "snapshot", "timestamp"},
	"snapshot":  {"snapshot", "timestamp"},
	"timestamp": {"timestamp"},
}

// expiring makes the mirror's newest metadata of a role end within the hour.
func (a *attack) expiring(role string) {
	f := a.forger()
	f.life[role] = time.Hour
	f.sign(signedAbove[role]...)
}

// renew has the publisher sign a role again: the good mirror gets it.
func (a *attack) renew(role string) {
	a.t.Helper()
	if err := os.RemoveAll(a.good.dir); err != nil {
		a.t.Fatal(err)
	}
	copyTree(a.t, a.mirror.dir, a.good.dir)
	f := loadForger(a.t, a.good.dir, filepath.Join(a.stage.dir, "keys"))
	f.now = a.now().UTC().Truncate(time.Second)
	f.sign(signedAbove[role]...)
}

func TestEachRoleExpired(t *testing.T) {
	s := newStage(t)
	for role := range signedAbove {
		t.Run(role+" before an update", func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			a.expiring(role)
			a.later(2 * time.Hour)
			a.endure(hostile{event: expiry(role), text: role, hint: "protection goes on"})
			a.renew(role)
			a.outcome(updater.Updated, a.mirror, a.good)
			a.expect("list", 3)
		})
		t.Run(role+" while it runs, and at its next start", func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			a.expiring(role)
			a.outcome(updater.Updated, a.mirror)
			a.later(2 * time.Hour)
			a.starts(3)
			for range 2 {
				if res := a.outcome(updater.Failed, a.mirror); res.Bytes > small {
					t.Errorf("%d bytes were spent", res.Bytes)
				}
				a.told(expiry(role), role, "protection goes on")
				a.starts(3)
			}
			if _, err := a.world.updater().RollBack(t.Context(), nil); err != nil {
				t.Errorf("rolling back: %v", err)
			}
			a.expect("list", 2)
			a.renew(role)
			next := a.release(a.good)
			a.outcome(updater.Updated, a.mirror, a.good)
			a.expect("list", next)
		})
		t.Run(role+" before the first update", func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			a.expiring(role)
			a.later(2 * time.Hour)
			a.forget()
			a.outcome(updater.Failed, a.mirror)
			a.told(expiry(role), role, "protection goes on")
			a.renew(role)
			a.outcome(updater.Updated, a.mirror, a.good)
			a.expect("list", 3)
		})
	}
}

// expiry is the event of a role that has expired: what to do differs.
func expiry(role string) event.Code {
	if role == "root" {
		return event.RootExpired
	}
	return event.MetadataExpired
}

// forget makes the endpoint a new one.
func (a *attack) forget() {
	a.t.Helper()
	if err := os.RemoveAll(a.world.dir); err != nil {
		a.t.Fatal(err)
	}
	a.fresh = true
}

func TestAFrozenMirrorIsLookedPast(t *testing.T) {
	s := newStage(t)
	t.Run("before its signatures expire", func(t *testing.T) {
		t.Parallel()
		a := s.attack(t)
		a.become(a.mirror, 2)
		a.later(30 * time.Hour)
		a.outcome(updater.NothingNew, a.mirror)
		next := a.release(a.good)
		a.outcome(updater.Updated, a.mirror, a.good)
		a.told(event.SourceBehind, a.mirror.URL, "administrator")
		a.expect("list", next)
	})
	t.Run("when its signatures have expired", func(t *testing.T) {
		t.Parallel()
		a := s.attack(t)
		a.become(a.mirror, 2)
		a.later(8 * 24 * time.Hour)
		a.endure(hostile{event: event.MetadataExpired, text: "timestamp", hint: "another source may have newer ones"})
		next := a.release(a.good)
		a.outcome(updater.Updated, a.mirror, a.good)
		a.expect("list", next)
	})
	t.Run("a publisher who signs nothing new for days costs no more than the sources there are", func(t *testing.T) {
		t.Parallel()
		a := s.attack(t)
		a.become(a.mirror, 2)
		a.become(a.good, 2)
		a.later(30 * time.Hour)
		if res := a.outcome(updater.NothingNew, a.mirror, a.good); res.Requests != 4 || res.Bytes > 2000 {
			t.Errorf("%d requests and %d bytes", res.Requests, res.Bytes)
		}
		if a.saw(event.SourceBehind) {
			t.Errorf("a source is said to be behind:\n%s", a.events())
		}
	})
}

func TestAMirrorAnHourBehindItsPeer(t *testing.T) {
	a := newStage(t).attack(t)
	a.become(a.mirror, 2)
	a.outcome(updater.Updated, a.good)
	next := a.release(a.good)
	a.outcome(updater.Updated, a.mirror, a.good)
	a.told(event.SourceBehind, a.mirror.URL, "administrator")
	a.expect("list", next)
	a.endure(hostile{alone: updater.NothingNew, event: event.SourceBehind, text: "timestamp", hint: "administrator", version: next})
}
