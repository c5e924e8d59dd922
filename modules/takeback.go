package modules

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// TakenBack is what came of one folder that a base is no longer delivered to.
type TakenBack struct {
	Base, To string
	Removed  int      // files
	Left     []string // paths below To that were changed or replaced since: they stay
	Adopted  []string // and those that were there before the first delivery
	Err      error    // why it is not done; the next time goes on with it
}

// TakeBack removes what was delivered for bases and into folders that engines
// no longer name, and then forgets it. A file that is not as it was delivered,
// or that an engine is still delivered at the same place, stays. Without an
// error the removals survive power loss; after any end it may be called again.
//
// engines must be all that there are: what another delivers would go.
func TakeBack(ctx context.Context, disk *durable.Disk, stateDir string, engines map[string]*Engine) []TakenBack {
	t := &taker{disk: disk, stateDir: stateDir, wanted: map[string]bool{}, bases: map[string]bool{}}
	for _, e := range engines {
		t.want(e)
	}
	return t.all(ctx)
}

// TakeBackFirst does the same for bases of which no version is in use, though
// engines name them: what was delivered of a first version, which did not prove
// itself, goes, so that the folder is as it was before. Where the record does not
// say so everything stays: that the state was lost takes nothing from an engine.
func TakeBackFirst(ctx context.Context, disk *durable.Disk, stateDir string, engines map[string]*Engine, bases []string) []TakenBack {
	t := &taker{disk: disk, stateDir: stateDir, wanted: map[string]bool{}, bases: map[string]bool{}, only: map[string]bool{}}
	for _, e := range engines {
		for _, name := range e.recordNames() {
			r := &reconciler{Delivery: *e.Delivery, base: name}
			rec, err := loadRecord(r.recordPath())
			if slices.Contains(bases, e.Base) && err == nil && rec.First {
				t.only[r.recordPath()] = true
				continue
			}
			t.wanted[r.recordPath()] = true
			t.bases[e.Base] = true
		}
	}
	if len(t.only) == 0 {
		return nil
	}
	return t.all(ctx)
}

func (t *taker) all(ctx context.Context) []TakenBack {
	old, rest := t.sort()
	if len(old)+len(rest) == 0 {
		return nil
	}
	var out []TakenBack
	for _, path := range old {
		out = append(out, t.one(ctx, path))
	}
	return append(out, t.forget(rest)...)
}

type taker struct {
	disk     *durable.Disk
	stateDir string
	wanted   map[string]bool // paths of records of what is delivered on
	bases    map[string]bool // that are delivered on, or not yet taken back
	only     map[string]bool // paths of records to take back; nil: all that are not wanted
}

// recordForm is the name of a record, see recordPath.
var recordForm = regexp.MustCompile(`^([a-z0-9-]+)((?:\+[a-z]+)?)-([0-9a-f]{8})\.json$`)

func (t *taker) want(e *Engine) {
	if e.Delivery == nil {
		return
	}
	t.bases[e.Base] = true
	for _, name := range e.recordNames() {
		r := &reconciler{Delivery: *e.Delivery, base: name}
		t.wanted[r.recordPath()] = true
	}
}

// sort lists the records of what is not delivered any more, and what else is
// kept for bases that are not.
func (t *taker) sort() (old, rest []string) {
	dir := filepath.Join(t.stateDir, "delivered")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch base, _, staging := strings.Cut(e.Name(), "+"); {
		case t.wanted[path]:
		case recordForm.MatchString(e.Name()):
			if t.only == nil || t.only[path] {
				old = append(old, path)
			}
		case staging && !t.bases[base] && t.concerns(base):
			rest = append(rest, path)
		}
	}
	return old, rest
}

// concerns says whether it is about the base.
func (t *taker) concerns(base string) bool {
	for path := range t.only {
		if parts := recordForm.FindStringSubmatch(filepath.Base(path)); parts[1] == base {
			return true
		}
	}
	return t.only == nil
}

// forget removes what was made to be delivered of bases that are not any more.
func (t *taker) forget(rest []string) (out []TakenBack) {
	for _, path := range rest {
		base, _, _ := strings.Cut(filepath.Base(path), "+")
		if t.bases[base] {
			continue
		}
		if err := t.disk.RemoveAll(path); err != nil {
			out = append(out, TakenBack{Base: base, Err: err})
		}
	}
	return out
}

// one takes back what one record names. The record goes last, when the names
// are gone for good.
func (t *taker) one(ctx context.Context, file string) TakenBack {
	parts := recordForm.FindStringSubmatch(filepath.Base(file))
	out := TakenBack{Base: parts[1]}
	rec, err := loadRecord(file)
	r := &reconciler{Delivery: Delivery{To: rec.To, StateDir: t.stateDir}, base: parts[1] + parts[2], disk: t.disk}
	if err == nil && r.recordPath() != file {
		err = fmt.Errorf("%s is damaged (remove it, and move away what was delivered): it is of the folder %q", file, rec.To)
	}
	if out.To = rec.To; err == nil {
		err = t.empty(ctx, r, rec.clone(), &out)
	}
	if err == nil {
		err = t.disk.RemoveAll(file)
	}
	if err != nil {
		t.bases[out.Base] = true
		out.Err = fmt.Errorf("taking back what was delivered: %w", err)
	}
	return out
}

// empty removes the files of rec, and the folders made for them.
func (t *taker) empty(ctx context.Context, r *reconciler, rec record, out *TakenBack) error {
	top, err := openFolder(r.To)
	if errors.Is(err, unix.ENOENT) {
		return nil // the engine is gone, and its folder with it
	}
	if err != nil {
		return err
	}
	defer top.Close()
	spared, err := t.spared()
	if err != nil {
		return err
	}
	changed := map[string]bool{} // also what a killed run removed and did not sync
	for _, name := range slices.Sorted(maps.Keys(rec.Files)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		changed[path.Dir(name)] = true
		if err := t.file(top, r, name, rec.Files[name], spared, out); err != nil {
			return err
		}
	}
	for dir := range changed {
		if err := r.reap(top, dir); err != nil {
			return err
		}
	}
	if err := r.dropFolders(top, &rec, changed); err != nil {
		return err
	}
	for dir := range changed {
		if err := r.sync(top, dir); err != nil {
			return err
		}
	}
	return nil
}

// file removes one file if it is as it was delivered.
func (t *taker) file(top *folder, r *reconciler, name string, e entry, spared map[spot]bool, out *TakenBack) error {
	in, err := top.enter(path.Dir(name), nil)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if gone(err) { // a link or a file stands for its folder
		out.Left = append(out.Left, name)
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	there, err := in.look(path.Base(name))
	if err != nil || there == nil {
		return err
	}
	at, err := in.spot(path.Base(name))
	if err != nil || spared[at] {
		return err
	}
	if e.Adopted {
		out.Adopted = append(out.Adopted, name)
		return nil
	}
	ours := isRegular(*there) && !e.pending() && e.As.same(identity(*there))
	if isRegular(*there) && e.pending() { // a killed run was about to put it
		if ours, err = t.ofVersion(top, r.base, name, *there); err != nil {
			return err
		}
	}
	if !ours {
		out.Left = append(out.Left, name)
		return nil
	}
	out.Removed++
	return in.remove(t.disk, path.Base(name), 0)
}

// ofVersion says whether a file is that of a version that is still kept, to
// the byte.
func (t *taker) ofVersion(top *folder, staged, name string, there unix.Stat_t) (bool, error) {
	base, _, _ := strings.Cut(staged, "+")
	dirs, _ := filepath.Glob(filepath.Join(t.stateDir, "bases", base, "*"))
	made, _ := filepath.Glob(filepath.Join(t.stateDir, "delivered", base+"+*"))
	for _, dir := range append(dirs, made...) {
		file := filepath.Join(dir, name)
		if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() || st.Size() != there.Size {
			continue
		}
		if same, err := top.equal(name, file); err != nil || same {
			return same, err
		}
	}
	return false, nil
}

// spot is a name in a folder, by whatever path that is reached.
type spot struct {
	dev, ino uint64
	name     string
}

func (f *folder) spot(name string) (spot, error) {
	var st unix.Stat_t
	err := unix.Fstat(f.fd(), &st)
	return spot{uint64(st.Dev), st.Ino, name}, f.err("stat", ".", err)
}

// spared are the places of files that are delivered on: a folder may have two
// names, and two bases one folder.
func (t *taker) spared() (map[spot]bool, error) {
	all := map[spot]bool{}
	for file := range t.wanted {
		rec, err := loadRecord(file)
		if err != nil {
			return nil, err
		}
		if len(rec.Files) == 0 {
			continue
		}
		top, err := openFolder(rec.To)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = top.spots(rec, all)
		if top.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (f *folder) spots(rec record, all map[spot]bool) error {
	for name := range rec.Files {
		in, err := f.enter(path.Dir(name), nil)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		at, err := in.spot(path.Base(name))
		in.Close()
		if err != nil {
			return err
		}
		all[at] = true
	}
	return nil
}

// reap removes what a killed delivery left half done in one folder.
func (r *reconciler) reap(top *folder, dir string) error {
	f, err := top.enter(dir, nil)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.reap(r.disk)
}
