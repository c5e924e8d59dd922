package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/freshet/freshet/internal/durable"
)

// Try has clamscan load what clamd would have with v, and scan the samples.
// Where there is no memory for that, clamscan loads v alone, or clamd itself is
// the first to read it: see room.
func (c *ClamAV) Try(ctx context.Context, v Version) error {
	size, err := sizeOf(v.Dir)
	if err != nil {
		return err
	}
	r, err := c.room(ctx, size)
	if err != nil {
		return err
	}
	c.before(ctx)
	if r.way == wayNone {
		return ctx.Err()
	}
	dir, remove, err := scratch(filepath.Join(c.stateDir, "tmp"))
	if err != nil {
		return fmt.Errorf("making a folder to try in: %w", err)
	}
	defer remove()
	user := unprivileged(c.settings.User, dir, v.Dir)
	db := filepath.Join(dir, "db")
	own, err := c.gather(db, v.Dir, r.way == wayWhole, user != nil)
	if err != nil {
		return err
	}
	paths, err := copies(c.samples, dir)
	if err != nil {
		return err
	}
	return c.clamscan(ctx, scan{db: db, own: own, paths: paths, whole: r.way == wayWhole, set: r.set, user: user})
}

// gather links what clamd would have into a folder, and names what is of the
// version. What others have in clamd's folder is taken along if whole.
func (c *ClamAV) gather(db, dir string, whole, links bool) (own map[string]bool, err error) {
	if err := durable.Mkdir(db, 0o755); err != nil {
		return nil, err
	}
	files, err := list(dir)
	if err != nil {
		return nil, err
	}
	own = map[string]bool{}
	for name := range files {
		if strings.Contains(name, "/") {
			continue // clamd reads no folder in its folder
		}
		own[name] = true
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(db, name)); err != nil {
			return nil, err
		}
	}
	if !whole {
		return own, nil
	}
	others, err := c.others()
	if err != nil {
		return nil, err
	}
	for name, st := range others {
		// What root is led to by a link, the engine's user chose.
		if own[name] || !links && !st.Mode().IsRegular() {
			continue
		}
		if err := os.Symlink(filepath.Join(c.to, name), filepath.Join(db, name)); err != nil {
			return nil, err
		}
	}
	return own, nil
}

// others lists what is in clamd's folder and was not delivered for this base.
func (c *ClamAV) others() (map[string]os.FileInfo, error) {
	ours := map[string]bool{}
	for _, name := range []string{c.base, c.base + "+marker"} {
		r := &reconciler{Delivery: Delivery{To: c.to, StateDir: c.stateDir}, base: name}
		rec, err := loadRecord(r.recordPath())
		if err != nil {
			return nil, err
		}
		for file := range rec.Files {
			ours[file] = true
		}
	}
	entries, err := os.ReadDir(c.to)
	if err != nil {
		return nil, fmt.Errorf("%w (is ClamAV installed?)", err)
	}
	found := map[string]os.FileInfo{}
	for _, e := range entries {
		st, err := e.Info()
		if err == nil && !e.IsDir() && !ours[e.Name()] && !strings.HasPrefix(e.Name(), ".") {
			found[e.Name()] = st
		}
	}
	return found, nil
}

// scan is one run of clamscan.
type scan struct {
	db    string
	own   map[string]bool // names in db that are of the version
	paths []string        // of the samples, in their order
	whole bool            // db is all that clamd would have
	set   int64           // bytes of it
	user  *account
}

func (c *ClamAV) clamscan(ctx context.Context, s scan) error {
	out, errs := &firstBytes{}, &lastBytes{}
	p := process{
		Args:    append([]string{c.settings.Scanner, "--database=" + s.db, "--no-summary", "--stdout"}, s.paths...),
		Timeout: c.forTry, Out: out, Err: errs, User: s.user,
	}
	ended, err := p.run(ctx)
	var late *TimeoutError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &late):
		return &TimeoutError{Step: "try", Program: c.settings.Scanner, After: late.After, Output: errs.String()}
	case ended == nil:
		return fmt.Errorf("running %s: %w", c.settings.Scanner, err)
	case ended.ExitCode() < 0:
		return fmt.Errorf("%s did not come to its end, for want of memory say: %w", c.settings.Scanner, err)
	case ended.ExitCode() > 1:
		said := errs.String() + out.String()
		if other := c.unloadable(said, s); other != "" {
			return fmt.Errorf("clamd's folder %s holds %s, which ClamAV cannot load: remove or mend it", c.to, other)
		}
		return &CommandError{Step: "try", Command: p.Args[:2], Exit: ended.ExitCode(), Output: said, Reason: err.Error()}
	}
	if use, ok := ended.SysUsage().(*syscall.Rusage); ok && s.whole {
		if err := c.measured(s.set, use.Maxrss<<10); err != nil {
			return err
		}
	}
	found, err := verdictsOf(out.String(), s.paths)
	if err != nil {
		return err
	}
	for i, sample := range c.samples {
		reason := sample.wrong(found[i])
		if reason == "" || sample.bad && !s.whole { // others may detect it
			continue
		}
		if sample.bad {
			reason += ": a base for it belongs into " + c.to + ", or samples.eicar is set to false"
		}
		return &Veto{"clamscan", "try", reason}
	}
	return nil
}

// unloadable is the file of others that clamscan says it cannot load, or "".
func (c *ClamAV) unloadable(said string, s scan) string {
	for line := range strings.Lines(said) {
		_, after, ok := strings.Cut(line, "Can't load "+s.db+"/")
		name, _, _ := strings.Cut(after, ":")
		if ok && !s.own[name] {
			return name
		}
	}
	return ""
}

// verdictsOf reads clamscan's lines: "PATH: OK" or "PATH: NAME FOUND".
func verdictsOf(out string, paths []string) ([]string, error) {
	said := map[string]string{}
	for line := range strings.Lines(out) {
		path, verdict, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if ok {
			said[path] = verdict
		}
	}
	found := make([]string, len(paths))
	for i, path := range paths {
		name, bad := strings.CutSuffix(said[path], " FOUND")
		switch {
		case bad:
			found[i] = name
		case said[path] != "OK" && said[path] != "Empty file":
			return nil, fmt.Errorf("clamscan gives no verdict on a sample but %q", said[path])
		}
	}
	return found, nil
}

// copies puts the samples into dir and gives their paths.
func copies(samples []sample, dir string) ([]string, error) {
	var paths []string
	for i, s := range samples {
		path := filepath.Join(dir, fmt.Sprintf("sample-%d", i))
		if err := s.copyTo(path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func (c *ClamAV) measured(set, peak int64) error {
	m := c.marker()
	m.Set, m.Peak = set, peak
	return c.remember(m)
}

// sizeOf sums the files below dir.
func sizeOf(dir string) (int64, error) {
	files, err := list(dir)
	var sum int64
	for _, st := range files {
		sum += st.Size
	}
	return sum, err
}

// firstBytes keeps the first 256 KiB written to it.
type firstBytes struct{ bytes.Buffer }

func (f *firstBytes) Write(p []byte) (int, error) {
	const most = 256 << 10
	f.Buffer.Write(p[:max(0, min(len(p), most-f.Len()))])
	return len(p), nil
}
