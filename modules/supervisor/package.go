package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/command"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

const (
	versionTime   = 10 * time.Second
	maxVersionOut = 64 << 10
	maxProgram    = 1 << 30
)

// versions are names that a slot may have.
var versionName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$`)

// registerPackage makes the build that a package brought a slot: the first one
// is good at once, a newer one is tried as any update is, an older one stays
// where it is.
func (s *Supervisor) registerPackage() error {
	if s.Package == "" {
		return nil
	}
	slot, err := s.packageSlot()
	if err != nil {
		s.say("the package's program is not taken as a version: %v", err)
		return nil
	}
	s.packaged = slot.Version
	v, err := s.view()
	if err != nil {
		return nil
	}
	have, installed := v.good.Modules[agentModule]
	_, held := v.HeldModule(agentModule, slot.Version)
	held = held || installed && v.Undecided("module", agentModule) // it may be one that was rejected
	newer := !installed || rollback.CompareReleases(slot.Version, have.Version) > 0 || slot.Version == have.Version && sameKind(have) && slot.Dir != have.Dir
	waits := v.ofModules && rollback.CompareReleases(slot.Version, v.trial.Modules[agentModule].Version) <= 0
	if held || !newer || waits {
		return nil
	}
	if err := s.copySlot(slot); err != nil {
		return fmt.Errorf("taking the package's program as version %s: %w", slot.Version, err)
	}
	// What cannot be started from there is no version: the package's own program serves.
	if said, err := s.versionOf(s.programOf(agentModule, slot)); err != nil || said != slot.Version {
		s.say("the package's program is not taken as version %s: %v", slot.Version, cmp.Or(err, fmt.Errorf("its copy says that it is %q", said)))
		return nil
	}
	_, err = s.change(func(st rollback.State) (rollback.State, error) {
		from := st.Good
		if v.ofModules {
			from = st.Trial // what else is on trial stays so
		}
		g, err := s.store().Generation(from)
		if err != nil {
			return st, err
		}
		g = g.WithModules(map[string]rollback.Slot{agentModule: slot})
		g.Why, g.Made = "package", s.Clock.Now().UTC()
		if st, g, err = s.store().Make(st, g); err != nil {
			return st, err
		}
		if v.ofModules {
			st, err = st.Displace(g.Number)
		} else {
			st, err = st.Switch(g.Number)
		}
		if err != nil {
			return st, err
		}
		if installed {
			return st.Suspend(), nil // the good one starts first, and hands over to it
		}
		return st.Confirm(), nil
	})
	if err == nil {
		s.on(happening{kind: registered})
		s.tell(event.PackageRegistered, map[string]string{"version": slot.Version})
	}
	return err
}

// sameKind says whether a slot was brought by a package: then one of the same
// version and other content is a build by hand, and newer.
func sameKind(slot rollback.Slot) bool { return slot.Image == "" }

// packageSlot asks the package's program for its version.
func (s *Supervisor) packageSlot() (rollback.Slot, error) {
	sum, err := sumOf(s.Package)
	if err != nil {
		return rollback.Slot{}, err
	}
	version, err := s.versionOf(s.Package)
	if err != nil {
		return rollback.Slot{}, err
	}
	return rollback.Slot{Version: version, Dir: version + "-" + sum[:12], Start: []string{agentProgram}}, nil
}

// versionOf runs a program of Freshet's to ask it for its version.
func (s *Supervisor) versionOf(program string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), versionTime)
	defer stop()
	var out limited
	_, err := command.Command{
		Args: []string{program, "version", "--json", "--socket", filepath.Join(s.Runtime, "none")},
		Env:  environment(), Out: &out, Err: io.Discard, Start: s.family.start, Ended: s.family.ended,
	}.Run(ctx)
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", program, whyNotStarted(program, err))
	}
	var said struct {
		Command struct {
			Version string `json:"version"`
		} `json:"command"`
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", program, err)
	}
	version := strings.TrimPrefix(said.Command.Version, "v")
	if !versionName.MatchString(version) {
		return "", fmt.Errorf("%s says that its version is %q", program, version)
	}
	return version, nil
}

// whyNotStarted adds to an error of starting a program what it does not say.
func whyNotStarted(program string, err error) error {
	if errors.Is(err, fs.ErrPermission) && durable.NoExec(program) {
		return fmt.Errorf("%w: it is on a file system mounted noexec", err)
	}
	return err
}

// limited takes so much and no more.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxVersionOut {
		return 0, errors.New("it says too much")
	}
	return l.Buffer.Write(p)
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxProgram+1))
	if err == nil && n > maxProgram {
		err = fmt.Errorf("%s has more than %d bytes", path, maxProgram)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// copySlot copies the package's program into its slot: what a package manager
// replaces or removes later is no matter then.
func (s *Supervisor) copySlot(slot rollback.Slot) error {
	dir := filepath.Join(s.Dir, "modules", agentModule, slot.Dir)
	if _, err := os.Stat(filepath.Join(dir, agentProgram)); err == nil {
		return nil // it came here whole, by a rename
	}
	build := dir + ".build"
	if err := s.Disk.RemoveAll(build); err != nil {
		return err
	}
	if err := s.Disk.MkdirAll(build, 0o755); err != nil {
		return err
	}
	if err := copyFile(s.Package, filepath.Join(build, agentProgram)); err != nil {
		return err
	}
	if err := s.Disk.SyncTree(build); err != nil {
		return err
	}
	if sum, err := sumOf(filepath.Join(build, agentProgram)); err != nil || !strings.HasSuffix(slot.Dir, sum[:12]) {
		return errors.Join(fmt.Errorf("%s changed while it was copied", s.Package), err)
	}
	return s.Disk.Rename(build, dir)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := durable.OpenNew(to, os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, maxProgram))
	return errors.Join(err, out.Close())
}

// belowPackage says whether a slot is older than what the package brought: the
// package manager is then asked first.
func (s *Supervisor) belowPackage(slot rollback.Slot) bool {
	return s.packaged != "" && slot.Version != "" && rollback.CompareReleases(slot.Version, s.packaged) < 0
}

func (s *Supervisor) belowText(slot rollback.Slot) string {
	return fmt.Sprintf("version %s is older than the installed package's %s: install an older package first", slot.Version, s.packaged)
}

// older says why a state that an agent wants is refused: it would put a version
// below the package's on trial.
func (s *Supervisor) older(v view, is rollback.State) error {
	if is.Current == v.Current || is.Current == is.Good {
		return nil
	}
	g, err := s.store().Generation(is.Current)
	if err != nil {
		return err
	}
	slot := g.Modules[agentModule]
	if slot.Dir != v.now.Modules[agentModule].Dir && s.belowPackage(slot) {
		return errors.New(s.belowText(slot))
	}
	return nil
}
