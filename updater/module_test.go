package updater_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

func TestANewerReleaseIsInstalledOnTrialAndOnlyItsDeltaIsFetched(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	w.publishModule("agent", "1.0.0")
	res := w.update(updater.Updated, policy("0.9.0"), func(u *updater.Updater) { u.Modules.Each = map[string]string{"agent": ""}; u.Version = "dev" })
	if len(res.Modules) != 0 {
		t.Fatalf("an agent built by hand was replaced: %+v", res.Modules)
	}
	res = w.update(updater.NothingNew, policy("0.9.0"))
	w.expectModule("agent", "", "")
	if !w.saw(event.ModuleAvailable) && len(res.Modules) == 0 {
		t.Log("line 1 is not pushed on an agent of line 0")
	}
	res = w.update(updater.Updated, policy("1.0.0-rc.1"))
	w.expectModule("agent", "1.0.0", "")
	if !w.saw(event.ModuleOnTrial) || len(res.Modules) != 1 || res.Modules[0].From != "1.0.0-rc.1" || res.Modules[0].To != "1.0.0" {
		t.Errorf("%+v; events %v", res.Modules, w.events)
	}
	w.judge(true)
	done := w.publishModule("agent", "1.1.0")
	if len(done.Deltas) != 1 || done.Deltas[0].Size*5 > done.Full {
		t.Fatalf("%+v", done)
	}
	res = w.update(updater.Updated, policy("1.0.0"))
	w.expectModule("agent", "1.1.0", "1.0.0")
	if res.Bytes > done.Deltas[0].Size+6000 {
		t.Errorf("%d bytes were fetched, the delta has %d", res.Bytes, done.Deltas[0].Size)
	}
	w.expect("list", 1)
	w.update(updater.NothingNew, policy("1.1.0"))
	w.expectModule("agent", "1.1.0", "1.0.0")
	out, err := exec.Command(filepath.Join(w.dir, "state/modules/agent", w.slot("agent").Dir, "bin/agent")).Output()
	if err != nil || string(out) != "agent 1.1.0\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func (w *world) slot(name string) rollback.Slot {
	_, current, _ := w.state()
	return current.Modules[name]
}

func TestFromAnyOlderReleaseOneStepLeadsToTheNewest(t *testing.T) {
	w := newWorld(t)
	versions := []string{"1.0.0", "1.0.1", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.10.0"}
	states := map[string]string{}
	for _, v := range versions {
		w.publishModule("agent", v)
		w.dir = filepath.Join(t.TempDir(), "endpoint")
		w.update(updater.Updated, policy("1.0.0-a"))
		w.judge(true)
		states[v] = w.dir
	}
	for _, v := range versions[:len(versions)-1] {
		w.dir = states[v]
		res := w.update(updater.Updated, policy(v))
		w.expectModule("agent", "1.10.0", v)
		t.Logf("from %s: %d bytes in %d requests", v, res.Bytes, res.Requests)
	}
}

func TestModesSayWhatIsDoneAboutANewerRelease(t *testing.T) {
	rows := []struct {
		name      string
		change    func(*updater.ModulePolicy)
		installed string
		fetched   bool
		saw       event.Code
	}{
		{"by default it is installed", func(*updater.ModulePolicy) {}, "1.1.0", true, event.ModuleOnTrial},
		{"download-only fetches it", func(p *updater.ModulePolicy) { p.Mode = updater.ModulesDownloadOnly }, "1.0.0", true, event.ModuleFetched},
		{"disabled lists it alone", func(p *updater.ModulePolicy) { p.Mode = updater.ModulesDisabled }, "1.0.0", false, event.ModuleAvailable},
		{"the module's own mode goes first", func(p *updater.ModulePolicy) {
			p.Mode, p.Each = updater.ModulesDisabled, map[string]string{"agent": updater.ModulesInstall}
		}, "1.1.0", true, event.ModuleOnTrial},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.publishModule("agent", "1.0.0")
			w.update(updater.Updated, policy("1.0.0-a"))
			w.judge(true)
			w.publishModule("agent", "1.1.0")
			w.events = nil
			w.updater(policy("1.0.0", row.change)).Run(t.Context(), "test", nil)
			w.expectModule("agent", row.installed, "1.0.0")
			if !w.saw(row.saw) {
				t.Errorf("events %v", w.events)
			}
			w.events = nil
			res := w.updater(policy("1.0.0", row.change)).Run(t.Context(), "test", nil)
			if res.Outcome != updater.NothingNew || w.saw(event.ModuleAvailable) || w.saw(event.ModuleFetched) {
				t.Errorf("again: %+v, events %v", res, w.events)
			}
			list, _, err := w.updater(policy("1.0.0", row.change)).ListModules()
			if err != nil || len(list) != 1 || len(list[0].Available) != 1 {
				t.Fatalf("%+v, %v", list, err)
			}
			got := list[0].Available[0]
			if got.Version != "1.1.0" || got.Fetched != row.fetched || !strings.Contains(got.Notes, "new in 1.1.0") {
				t.Errorf("%+v", got)
			}
			if row.installed == "1.1.0" {
				return
			}
			w.server.Close() // fetched or not
			from, to, err := w.updater(policy("1.0.0", row.change)).InstallModule(t.Context(), "agent", "", nil)
			if row.fetched && (err != nil || from != "1.0.0" || to != "1.1.0") || !row.fetched && err == nil {
				t.Errorf("installed by hand without a network: %s to %s, %v", from, to, err)
			}
		})
	}
}

func TestANewMajorLineIsListedAndNeverPushed(t *testing.T) {
	w := newWorld(t)
	w.publishModule("agent", "1.0.0")
	w.update(updater.Updated, policy("1.0.0-a"))
	w.judge(true)
	w.publishModule("agent", "2.0.0")
	w.update(updater.NothingNew, policy("1.0.0"))
	if !w.saw(event.ModuleAvailable) {
		t.Errorf("events %v", w.events)
	}
	w.update(updater.NothingNew, policy("1.0.0"))
	if w.saw(event.ModuleAvailable) {
		t.Error("it is told twice")
	}
	w.publishModule("agent", "1.1.0")
	w.update(updater.Updated, policy("1.0.0"))
	w.expectModule("agent", "1.1.0", "1.0.0")
	w.judge(true)
	if _, _, err := w.updater(policy("1.1.0")).InstallModule(t.Context(), "agent", "", nil); !errors.Is(err, updater.ErrNothingNewer) {
		t.Errorf("%v", err)
	}
	if _, _, err := w.updater(policy("1.1.0")).InstallModule(t.Context(), "agent", "2.0.0", nil); err != nil {
		t.Fatal(err)
	}
	w.expectModule("agent", "2.0.0", "1.1.0")
}

func TestOnlyWhatIsInstalledOrNamedIsInstalled(t *testing.T) {
	w := newWorld(t)
	w.publishModule("av", "1.0.0")
	w.publishModule("ids", "1.0.0", "agent: 3.0.0")
	w.publishModule("agent", "3.0.0")
	w.update(updater.NothingNew, policy("2.0.0"))
	w.update(updater.Updated, policy("2.0.0", named("av", ""), named("ids", "")))
	w.expectModule("av", "1.0.0", "")
	w.expectModule("ids", "", "")
	if !w.saw(event.ModuleRefused) {
		t.Errorf("nothing tells that ids needs a newer agent: %v", w.events)
	}
	w.update(updater.NothingNew, policy("2.0.0", named("av", ""), named("ids", "")))
	if w.saw(event.ModuleRefused) {
		t.Error("it is told each hour")
	}
	w.update(updater.Updated, policy("3.0.0", named("av", ""), named("ids", "")))
	w.expectModule("ids", "1.0.0", "")
	w.expectModule("av", "1.0.0", "")
	if res := w.updater(policy("2.0.0", func(p *updater.ModulePolicy) { p.Platform = "linux/arm64"; named("av", "")(p) })); res != nil {
		w.dir = filepath.Join(t.TempDir(), "arm")
		if out := res.Run(t.Context(), "test", nil); len(out.Modules) != 0 {
			t.Errorf("on another platform: %+v", out.Modules)
		}
	}
}

func TestBasesAreUpdatedWhileAModuleIsOnTrialAndOutliveItsFailure(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		w := newWorld(t)
		w.publish("list", records(1, 300))
		w.publishModule("agent", "1.0.0")
		w.update(updater.Updated, policy("1.0.0-a"))
		w.judge(true)
		w.publishModule("agent", "1.1.0")
		w.update(updater.Updated, policy("1.0.0"))
		w.expectModule("agent", "1.1.0", "1.0.0")
		if waiting { // a boot: the good one runs
			st, _, _ := w.state()
			if err := w.store().Switch(st, st.Suspend()); err != nil {
				t.Fatal(err)
			}
		}
		for v := int64(2); v <= 3; v++ {
			w.publish("list", records(int(v), 300))
			w.update(updater.Updated, policy("1.1.0"))
			w.expect("list", v)
			st, current, good := w.state()
			trial, err := w.store().Generation(st.Trial)
			if err != nil || trial.Modules["agent"].Version != "1.1.0" || trial.Bases["list"].Version != v || good.Bases["list"].Version != v || good.Modules["agent"].Version != "1.0.0" {
				t.Fatalf("version %d, waiting %v: %+v; good %+v, trial %+v, %v", v, waiting, st, good, trial, err)
			}
			if want := map[bool]string{false: "1.1.0", true: "1.0.0"}[waiting]; current.Modules["agent"].Version != want {
				t.Fatalf("agent %s is current", current.Modules["agent"].Version)
			}
		}
		if waiting {
			st, _, _ := w.state()
			again, err := st.Switch(st.Trial)
			if err == nil {
				err = w.store().Switch(st, again)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.judge(false)
		w.expectModule("agent", "1.0.0", "1.0.0")
		w.expect("list", 3)
		w.update(updater.NothingNew, policy("1.0.0"))
		w.expectModule("agent", "1.0.0", "1.0.0")
		w.publishModule("agent", "1.1.1")
		w.update(updater.Updated, policy("1.0.0"))
		w.expectModule("agent", "1.1.1", "1.0.0")
	}
}

func TestABaseThatItsEngineDoesNotBearLeavesTheTrialOfAModuleAlone(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.publishModule("agent", "1.0.0")
	w.update(updater.Updated, policy("1.0.0-a"))
	w.publish("list", records(2, 300))
	w.publish("other", records(1, 100))
	res := w.updater(policy("1.0.0"), unbearable).Run(t.Context(), "test", nil)
	if res.Outcome != updater.Partly {
		t.Fatalf("%+v", res)
	}
	w.expect("list", 1)
	w.expect("other", 1)
	w.expectModule("agent", "1.0.0", "")
	w.judge(true)
	w.expectModule("agent", "1.0.0", "1.0.0")
	w.expect("other", 1)
}

func TestASecondReleaseTakesThePlaceOfATrial(t *testing.T) {
	w := newWorld(t)
	w.publishModule("agent", "1.0.0")
	w.publishModule("av", "1.0.0")
	wish := named("av", "")
	w.update(updater.Updated, policy("1.0.0-a", wish))
	w.judge(true)
	w.publishModule("agent", "1.1.0")
	w.publishModule("av", "1.1.0")
	w.update(updater.Updated, policy("1.0.0", wish))
	w.publishModule("agent", "1.2.0")
	w.update(updater.Updated, policy("1.1.0", wish))
	w.expectModule("agent", "1.2.0", "1.0.0")
	w.expectModule("av", "1.1.0", "1.0.0")
	w.judge(false)
	w.expectModule("agent", "1.0.0", "1.0.0")
	w.expectModule("av", "1.0.0", "1.0.0")
}

func TestAPersonRollsBackHoldsAndReleasesAModule(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		w.publishModule("agent", v)
		w.update(updater.Updated, policy("1.0.0-a"))
		w.judge(v != "1.2.0" || true)
	}
	u := func() *updater.Updater { return w.updater(policy("1.2.0")) }
	from, to, err := u().RollBackModule(t.Context(), "agent")
	if err != nil || from != "1.2.0" || to != "1.1.0" {
		t.Fatalf("%s to %s, %v", from, to, err)
	}
	w.expectModule("agent", "1.1.0", "1.1.0")
	w.update(updater.NothingNew, policy("1.1.0"))
	if _, _, err := u().InstallModule(t.Context(), "agent", "1.2.0", nil); !errors.Is(err, updater.ErrModuleHeld) {
		t.Errorf("a release that was left: %v", err)
	}
	if out, err := u().ReleaseModule(t.Context(), "agent"); err != nil || len(out) != 1 {
		t.Errorf("%v, %v", out, err)
	}
	if err := u().HoldModule(t.Context(), "agent"); err != nil {
		t.Fatal(err)
	}
	w.publishModule("agent", "1.3.0")
	w.update(updater.NothingNew, policy("1.1.0"))
	w.expectModule("agent", "1.1.0", "1.1.0")
	if _, err := u().ReleaseModule(t.Context(), "agent"); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated, policy("1.1.0"))
	w.expectModule("agent", "1.3.0", "1.1.0")
	if from, to, err = u().RollBackModule(t.Context(), "agent"); err != nil || from != "1.3.0" || to != "1.1.0" {
		t.Errorf("from a trial: %s to %s, %v", from, to, err)
	}
	w.expectModule("agent", "1.1.0", "1.1.0")
	w.update(updater.NothingNew, policy("1.1.0"))
	if _, _, err := u().RollBackModule(t.Context(), "av"); !errors.Is(err, updater.ErrNoModule) {
		t.Errorf("a module that is not there: %v", err)
	}
}

func TestTheMechanismOfTheFirewallGoesBackWithTheAgent(t *testing.T) {
	w := newWorld(t)
	expect := func(when, mechanism string) {
		t.Helper()
		if _, current, _ := w.state(); current.Firewall != mechanism {
			t.Errorf("%s the generation names %q, not %q", when, current.Firewall, mechanism)
		}
	}
	w.publishModule("agent", "1.0.0", "firewall: nftables")
	w.update(updater.Updated, policy("1.0.0-a"))
	w.judge(true)
	w.publishModule("agent", "1.1.0", "firewall: iptables")
	w.update(updater.Updated, policy("1.0.0"))
	expect("on trial", "iptables")
	w.judge(true)
	w.publishModule("av", "1.0.0")
	w.update(updater.Updated, policy("1.1.0", named("av", "auto")))
	w.judge(true)
	expect("with another module", "iptables")
	if _, to, err := w.updater(policy("1.1.0")).RollBackModule(t.Context(), "agent"); err != nil || to != "1.0.0" {
		t.Fatalf("to %s, %v", to, err)
	}
	expect("rolled back", "nftables")
	w.publishModule("agent", "1.2.0", "firewall: iptables")
	w.update(updater.Updated, policy("1.0.0"))
	w.judge(false)
	expect("taken back from a trial", "nftables")
}

func TestGoingBackToAGenerationNeedsNoNetwork(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.publishModule("agent", "1.0.0")
	w.update(updater.Updated, policy("1.0.0-a"))
	w.judge(true)
	w.publish("list", records(2, 300))
	w.update(updater.Updated, policy("1.0.0"))
	w.publishModule("agent", "1.1.0")
	w.update(updater.Updated, policy("1.0.0"))
	w.judge(true)
	st, _, _ := w.state()
	floor := w.marksOf()
	answer := w.answer
	w.serve(offline)
	list, err := w.updater(policy("1.1.0")).Generations()
	if err != nil || list[0].Role != "current, good" || !list[0].Whole {
		t.Fatalf("%+v, %v", list, err)
	}
	back, err := w.updater(policy("1.1.0")).GoBack(t.Context(), 0, false)
	if err != nil || back.Left.Number != st.Current || back.Back.Number != st.Previous {
		t.Fatalf("%d to %d, %v", back.Left.Number, back.Back.Number, err)
	}
	w.expectModule("agent", "1.0.0", "1.0.0")
	w.expect("list", 2)
	w.serve(answer)
	w.update(updater.NothingNew, policy("1.0.0"))
	w.expectModule("agent", "1.0.0", "1.0.0")
	if w.marksOf().below(floor) {
		t.Error("the trust went back")
	}
	if _, err := w.updater(policy("1.0.0")).GoBack(t.Context(), 99, false); !errors.Is(err, rollback.ErrNoGeneration) {
		t.Errorf("%v", err)
	}
}

func TestADamagedSlotIsFoundAndRepaired(t *testing.T) {
	w := newWorld(t)
	for _, v := range []string{"1.0.0", "1.1.0"} {
		w.publishModule("agent", v)
		w.update(updater.Updated, policy("1.0.0-a"))
		w.judge(true)
	}
	path := filepath.Join(w.dir, "state/modules/agent", w.slot("agent").Dir, "bin/agent")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, data, 0o555)); err != nil {
		t.Fatal(err)
	}
	w.events = nil
	found, err := w.updater(policy("1.1.0")).VerifyModules(t.Context(), false, nil)
	bad := slices.IndexFunc(found, func(v updater.Verified) bool { return v.Error != "" })
	if err != nil || len(found) != 2 || bad < 0 || found[bad].Release != "1.1.0" || !w.saw(event.ModuleDamaged) {
		t.Fatalf("%+v, %v", found, err)
	}
	found, err = w.updater(policy("1.1.0")).VerifyModules(t.Context(), true, nil)
	if err != nil || !found[0].Repaired || found[0].Error != "" || !w.saw(event.ModuleRepaired) {
		t.Fatalf("%+v, %v", found, err)
	}
	w.expectModule("agent", "1.1.0", "1.1.0")
}

func TestSlotsThatNobodyNeedsGoAndThoseThatRunStay(t *testing.T) {
	w := newWorld(t)
	sleeper := moduleFolder(t, "agent", "1.0.0")
	data, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(filepath.Join(sleeper, "bin/agent"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	w.publishFolder(sleeper)
	w.update(updater.Updated, policy("1.0.0-a"))
	w.judge(true)
	first := filepath.Join(w.dir, "state/modules/agent", w.slot("agent").Dir)
	c := exec.Command(filepath.Join(first, "bin/agent"), "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"1.1.0", "1.2.0", "1.3.0"} {
		w.publishModule("agent", v)
		w.update(updater.Updated, policy("1.0.0"))
		w.judge(true)
	}
	w.update(updater.NothingNew, policy("1.3.0"))
	slots, _ := filepath.Glob(filepath.Join(w.dir, "state/modules/agent/*"))
	if len(slots) != 3 || !slices.Contains(slots, first) {
		t.Errorf("kept while one runs: %v", slots)
	}
	c.Process.Kill()
	c.Wait()
	w.update(updater.NothingNew, policy("1.3.0"))
	if slots, _ = filepath.Glob(filepath.Join(w.dir, "state/modules/agent/*")); len(slots) != 2 {
		t.Errorf("kept: %v", slots)
	}
}

// Where the agent itself is new, the one that runs the update is told to end as
// soon as the state says so, which is before the run has come to its end.
func TestAnUpdateThatEndsWithItsAgentIsDone(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 200))
	w.publishModule("agent", "1.0.0")
	w.update(updater.Updated, policy("1.0.0-a"))
	w.judge(true)
	w.publishModule("agent", "1.1.0")
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	var told []event.Code
	u := w.updater(policy("1.0.0"), func(u *updater.Updater) {
		u.Emit = func(c event.Code, _ map[string]string) {
			if told = append(told, c); c == event.ModuleOnTrial {
				stop(errors.New("the agent is stopping"))
			}
		}
	})
	res := u.Run(ctx, "by hand", nil)
	if res.Outcome != updater.Updated || slices.Contains(told, event.UpdateStopped) || !slices.Contains(told, event.UpdateFinished) {
		t.Errorf("%+v, told %v", res, told)
	}
	if st, now, _ := w.state(); now.Modules["agent"].Version != "1.1.0" || !st.OnTrial() {
		t.Errorf("%+v", st)
	}
}
