package modules

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// Delivery puts the files of a base into an engine's own folder, which others
// may write to as well.
type Delivery struct {
	To           string // absolute path of a folder that is there
	Owner, Group string // names or numbers; "": as the files are
	Mode         uint32 // permission bits of each file; 0: as the files are
	StateDir     string // where it remembers, under delivered/, what it delivered
}

// DeliverFiles reconciles the engine's folder to the version in dir: every
// file of it is there, whole, with owner and mode; files delivered before
// that it does not have are gone; files of others are as they were. A file of
// another that stands where one of the version belongs is adopted if it is the
// same to the byte: it stays for good, and follows the version. If it is not, that
// is an error, and nothing is changed. Nor is anything where it cannot be
// remembered. If it returns nil all this survives power loss;
// after any error it may be called again, with this or another version.
//
// A file is a hard link where owner and mode allow, else a copy. Within the
// folder no symbolic link is followed.
func (e *Engine) DeliverFiles(ctx context.Context, what Delivered) (adopted []string, err error) {
	if e.Delivery == nil {
		return nil, ctx.Err()
	}
	what.Dir, err = filepath.EvalSymlinks(what.Dir) // current is one
	if err == nil {
		adopted, err = e.deliverAll(ctx, what)
	}
	if err != nil {
		return adopted, fmt.Errorf("delivering base %s into %s: %w", e.Base, e.Delivery.To, err)
	}
	return adopted, nil
}

// Delivered is a version to be delivered.
type Delivered struct {
	Dir   string
	First bool // no version of the base has proved itself: see TakeBackFirst
}

func (e *Engine) deliverAll(ctx context.Context, what Delivered) (adopted []string, err error) {
	s, ok := e.Kind.(stager)
	if !ok {
		return e.deliver(ctx, staged{e.Base, what.Dir}, what.First)
	}
	for done := 0; ; done++ {
		next, err := s.stage(ctx, what.Dir, done)
		if err != nil || next == nil {
			return adopted, err
		}
		more, err := e.deliver(ctx, *next, what.First)
		if adopted = append(adopted, more...); err != nil {
			return adopted, err
		}
	}
}

func (e *Engine) deliver(ctx context.Context, what staged, first bool) (adopted []string, err error) {
	r := &reconciler{Delivery: *e.Delivery, base: what.name, disk: e.Disk, dir: what.dir, first: first}
	err = r.run(ctx)
	return r.adopted, err
}

// MarkFirst sets of what was delivered whether it goes with the version that is
// given up: see [TakeBackFirst].
func (e *Engine) MarkFirst(first bool) error {
	for _, name := range e.recordNames() {
		r := &reconciler{Delivery: *e.Delivery, base: name, disk: e.Disk}
		rec, err := loadRecord(r.recordPath())
		if err != nil {
			return err
		}
		if len(rec.Files) == 0 || rec.First == first {
			continue
		}
		r.saved = rec.clone()
		next := rec.clone()
		next.First = first
		if err := r.save(next); err != nil {
			return err
		}
	}
	return nil
}

// recordNames are those that the records of what is delivered go by.
func (e *Engine) recordNames() []string {
	switch s, ok := e.Kind.(stager); {
	case e.Delivery == nil:
		return nil
	case ok:
		return s.names()
	}
	return []string{e.Base}
}

// reconciler is one run of DeliverFiles.
type reconciler struct {
	Delivery
	base     string
	disk     *durable.Disk
	dir      string
	uid, gid int // -1: as the file is
	files    map[string]unix.Stat_t
	old      record
	saved    record // what the disk has
	first    bool   // see record
	adopted  []string
}

// run decides everything before it changes anything. Then it remembers what
// it is about to put, so that a run after a crash knows its own files.
func (r *reconciler) run(ctx context.Context) error {
	var err error
	if r.uid, r.gid, err = r.account(); err != nil {
		return err
	}
	if r.files, err = list(r.dir); err != nil {
		return err
	}
	if r.old, err = loadRecord(r.recordPath()); err != nil {
		return err
	}
	r.old = r.old.clone()
	r.saved = r.old.clone()
	top, err := openFolder(r.To)
	if err != nil {
		return fmt.Errorf("%w (is the engine installed?)", err)
	}
	defer top.Close()
	next, put, err := r.plan(ctx, top)
	if err != nil {
		return err
	}
	// Before the first file is put: what is not remembered would be taken for
	// another's.
	next.First = r.first
	if err := r.save(next); err != nil {
		return err
	}
	if len(put) > 0 || !r.settled() {
		if err := r.put(ctx, top, &next, put); err != nil {
			return err
		}
	}
	if err := r.drop(top, &next); err != nil {
		return err
	}
	return r.save(next)
}

// settled says whether the last run came to its end, with the files of this
// version among what it put and synced.
func (r *reconciler) settled() bool {
	for _, e := range r.old.Files {
		if e.pending() {
			return false
		}
	}
	for name := range r.files {
		if _, ours := r.old.Files[name]; !ours {
			return false
		}
	}
	return true
}

// plan compares the folder with the version. next is what was delivered
// before with the files to put among it, pending.
func (r *reconciler) plan(ctx context.Context, top *folder) (next record, put []string, err error) {
	next = r.old.clone()
	for name, src := range r.files {
		if err := ctx.Err(); err != nil {
			return next, nil, err
		}
		there, err := top.look(name)
		if err != nil {
			return next, nil, err
		}
		before, ours := r.old.Files[name]
		switch {
		case there != nil && r.stands(before, src, *there):
			next.Files[name] = entry{From: identity(src), As: identity(*there), Adopted: before.Adopted}
			continue
		case there != nil && there.Mode&unix.S_IFMT == unix.S_IFDIR:
			return next, nil, fmt.Errorf("a folder stands where the file %s belongs", name)
		case there != nil && !ours:
			if err := r.checkSame(top, name, src, *there); err != nil {
				return next, nil, err
			}
			if before.Adopted = !r.ownElsewhere(*there); before.Adopted {
				r.adopted = append(r.adopted, name)
			}
			if before.Adopted && attributesOf(*there) == r.wanted(src) {
				next.Files[name] = entry{From: identity(src), As: identity(*there), Adopted: true}
				continue
			}
		}
		if err := r.planFolders(top, path.Dir(name), &next); err != nil {
			return next, nil, err
		}
		next.Files[name] = entry{Adopted: before.Adopted}
		put = append(put, name)
	}
	slices.Sort(put)
	slices.Sort(r.adopted)
	return next, put, nil
}

// planFolders notes which folders must be made for dir.
func (r *reconciler) planFolders(top *folder, dir string, next *record) error {
	for ; dir != "." && !next.Folders[dir]; dir = path.Dir(dir) {
		there, err := top.look(dir)
		if err != nil || there != nil {
			return err
		}
		next.Folders[dir] = true
	}
	return nil
}

// stands says whether a file of the version is in the folder as it should be.
func (r *reconciler) stands(before entry, src, there unix.Stat_t) bool {
	if !isRegular(there) || attributesOf(there) != r.wanted(src) {
		return false
	}
	if there.Dev == src.Dev && there.Ino == src.Ino {
		return true
	}
	return before.From.same(identity(src)) && before.As == identity(there)
}

// checkSame refuses to replace a file that was not delivered, unless it is
// the same to the byte.
func (r *reconciler) checkSame(top *folder, name string, src, there unix.Stat_t) error {
	if isRegular(there) && there.Size == src.Size {
		same, err := top.equal(name, filepath.Join(r.dir, name))
		if err != nil || same {
			return err
		}
	}
	return fmt.Errorf("%s is there and was not delivered for this base: move it away", path.Join(r.To, name))
}

// ownElsewhere says whether a file was delivered for another base, or by another
// name of the same folder: then it is nobody else's.
func (r *reconciler) ownElsewhere(there unix.Stat_t) bool {
	files, _ := filepath.Glob(filepath.Join(r.StateDir, "delivered", "*.json"))
	for _, file := range files {
		if !recordForm.MatchString(filepath.Base(file)) {
			continue
		}
		rec, err := loadRecord(file)
		if err != nil {
			continue // whoever uses it says so
		}
		for _, e := range rec.Files {
			if !e.Adopted && !e.pending() && e.As.same(identity(there)) {
				return true
			}
		}
	}
	return false
}

// attributes are whom a file belongs to, and who may do what with it.
type attributes struct{ uid, gid, mode uint32 }

func attributesOf(st unix.Stat_t) attributes { return attributes{st.Uid, st.Gid, st.Mode & 0o7777} }

func (r *reconciler) wanted(src unix.Stat_t) attributes {
	a := attributes{src.Uid, src.Gid, src.Mode & 0o777}
	if r.uid >= 0 {
		a.uid = uint32(r.uid)
	}
	if r.gid >= 0 {
		a.gid = uint32(r.gid)
	}
	if r.Mode != 0 {
		a.mode = r.Mode & 0o777
	}
	return a
}

// put puts the named files, folder by folder. It visits every folder of this
// version and the one before, since a killed run may have left temporary
// files there, and names that are not synced.
func (r *reconciler) put(ctx context.Context, top *folder, next *record, names []string) error {
	byFolder := map[string][]string{}
	for name := range next.Files {
		byFolder[path.Dir(name)] = nil
	}
	for _, name := range names {
		byFolder[path.Dir(name)] = append(byFolder[path.Dir(name)], path.Base(name))
	}
	for _, dir := range slices.Sorted(maps.Keys(byFolder)) {
		if err := r.putInto(ctx, top, next, dir, byFolder[dir]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reconciler) putInto(ctx context.Context, top *folder, next *record, dir string, names []string) error {
	var make func(in *folder, name string) error
	if len(names) > 0 {
		make = func(in *folder, name string) error { return in.mkdir(r.disk, name, r.uid, r.gid) }
	}
	f, err := top.enter(dir, make)
	if len(names) == 0 && gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.reap(r.disk); err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		full := path.Join(dir, name)
		src := r.files[full]
		st, err := f.place(r.disk, filepath.Join(r.dir, full), name, src, r.wanted(src))
		if err != nil {
			return fmt.Errorf("putting %s: %w", full, err)
		}
		next.Files[full] = entry{From: identity(src), As: identity(st), Adopted: next.Files[full].Adopted}
	}
	return f.sync(r.disk)
}

// drop removes what was delivered before and is not in the version. A file
// that another has put in its place stays.
func (r *reconciler) drop(top *folder, next *record) error {
	changed := map[string]bool{} // folders to sync
	for name, e := range next.Files {
		if _, wanted := r.files[name]; wanted {
			continue
		}
		there, err := top.look(name)
		if err != nil && !gone(err) {
			return err
		}
		if there != nil && isRegular(*there) && !e.Adopted && (e.pending() || e.As.same(identity(*there))) {
			if err := r.remove(top, name, 0); err != nil {
				return err
			}
		}
		changed[path.Dir(name)] = true // also if a killed run removed it
		delete(next.Files, name)
	}
	if err := r.dropFolders(top, next, changed); err != nil {
		return err
	}
	for dir := range changed {
		if err := r.sync(top, dir); err != nil {
			return err
		}
	}
	return nil
}

// dropFolders removes the folders that were made and that nobody needs.
func (r *reconciler) dropFolders(top *folder, next *record, changed map[string]bool) error {
	needed := map[string]bool{}
	for name := range r.files {
		for dir := path.Dir(name); !needed[dir]; dir = path.Dir(dir) {
			needed[dir] = true
		}
	}
	for _, dir := range slices.Backward(slices.Sorted(maps.Keys(next.Folders))) { // the deepest first
		if needed[dir] {
			continue
		}
		err := r.remove(top, dir, unix.AT_REMOVEDIR)
		if gone(err) {
			err = nil // it is no folder now
		}
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			continue // others use it
		}
		if err != nil {
			return err
		}
		delete(next.Folders, dir)
		changed[path.Dir(dir)] = true
	}
	return nil
}

func (r *reconciler) remove(top *folder, name string, flags int) error {
	f, err := top.enter(path.Dir(name), nil)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.remove(r.disk, path.Base(name), flags)
}

func (r *reconciler) sync(top *folder, dir string) error {
	f, err := top.enter(dir, nil)
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.sync(r.disk)
}
