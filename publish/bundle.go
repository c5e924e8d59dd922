package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/bases"
)

// Bounds of a bundle's life.
const (
	defaultValid = 30 * day
	maxValid     = 90 * day
)

// Bundle is a wish for a small repository that is carried to machines without
// a network.
type Bundle struct {
	Out   string        // folder to make, or with the ending .zip a file to make or replace
	From  int64         // the version that agents have at least; 0: any or none
	Valid time.Duration // from now to its expiry, at most 90 days; 0: 30 days
}

// Bundled is a bundle that was made.
type Bundled struct {
	Out   string    `json:"out"`
	Bytes int64     `json:"bytes"`
	Files int       `json:"files"`
	Until time.Time `json:"until"`          // agents take it until then
	Ends  string    `json:"ends"`           // the role that expires then
	From  int64     `json:"from,omitempty"` // as asked for
	Bases []string  `json:"bases"`          // name and version

	Modules []string `json:"modules,omitempty"` // name, version and platform
	Roles   []string `json:"roles,omitempty"`   // offline roles that expire before the time asked for
}

// Bundle makes a bundle of the newest state. Its metadata takes the next free
// numbers; the repository itself goes on to those above them before any of the
// bundle's metadata is on disk, so that who took the bundle is never asked to
// go back, and its long life is in the bundle alone. Whenever it fails or is
// killed the repository is whole, and there is no bundle under its name.
func (r *Repository) Bundle(ctx context.Context, b Bundle) (*Bundled, error) {
	if err := b.prepare(); err != nil {
		return nil, err
	}
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	if err := ring.check(st, roleBases, metadata.SNAPSHOT, metadata.TIMESTAMP); err != nil {
		return nil, err
	}
	done := &Bundled{Out: b.Out, From: b.From, Bases: []string{}}
	done.end(st, r.now().Add(b.Valid))
	if !done.Until.After(r.now()) {
		return nil, refuse(fmt.Sprintf("freshet-publish sign %s %s --keys MEDIUM renews it", r.Dir, done.Ends),
			"%s expired at %s: no agent would take the bundle", done.Ends, done.Until.Format(time.RFC3339))
	}
	files, err := r.bundleFiles(st, b.From, done)
	if err != nil {
		return nil, err
	}
	out, err := r.newPacker(b.Out)
	if err != nil {
		return nil, err
	}
	if err := r.pack(ctx, out, files, st, ring, b.Valid); err != nil {
		return nil, errors.Join(err, out.abort())
	}
	done.Files, done.Bytes = out.totals()
	return done, nil
}

func (b *Bundle) prepare() error {
	if b.Valid == 0 {
		b.Valid = defaultValid
	}
	if b.Valid < time.Hour || b.Valid > maxValid {
		return refuse("a bundle is a way around the expiry of the timestamp: make a new one in time",
			"a bundle is valid for 1h to %dd", maxValid/day)
	}
	if b.From < 0 {
		return refuse("", "versions are not negative")
	}
	out, err := filepath.Abs(b.Out)
	if err != nil {
		return err
	}
	b.Out = out
	st, err := os.Stat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case b.zipped() && st.Mode().IsRegular():
		return nil
	}
	return refuse("remove it, or name another", "%s is there already", out)
}

func (b *Bundle) zipped() bool { return strings.HasSuffix(b.Out, ".zip") }

// end finds when agents take the bundle no more: an offline role may expire
// before the time asked for.
func (d *Bundled) end(st *state, asked time.Time) {
	d.Until, d.Ends = asked, metadata.TIMESTAMP
	for _, s := range st.roles() {
		// Agents read modules for modules alone.
		if !s.Offline || s.Role == roleModules || !s.Expires.Before(asked) {
			continue
		}
		d.Roles = append(d.Roles, s.Role)
		if s.Expires.Before(d.Until) {
			d.Until, d.Ends = s.Expires, s.Role
		}
	}
}

// bundleFile is a file of the repository that goes into a bundle as it is.
type bundleFile struct {
	name string
	size int64
	sum  bases.Hash
}

// bundleFiles lists the blobs and manifests that go into a bundle.
func (r *Repository) bundleFiles(st *state, from int64, done *Bundled) ([]bundleFile, error) {
	var files []bundleFile
	seen := map[string]bool{}
	for _, name := range st.names() {
		m, err := r.manifest(st, name)
		if err != nil {
			return nil, err
		}
		blobs, err := r.bundleBlobs(m, from)
		if err != nil {
			return nil, err
		}
		for _, b := range blobs {
			if !seen[b.Path()] {
				files = append(files, bundleFile{b.Path(), b.Size, b.SHA256})
			}
			seen[b.Path()] = true
		}
		target := st.Targets[roleBases].Signed.Targets[bases.TargetPath(name)]
		sum, err := targetHash(target)
		if err != nil {
			return nil, err
		}
		files = append(files, bundleFile{targetFile(name, sum), target.Length, sum})
		done.Bases = append(done.Bases, fmt.Sprintf("%s version %d", name, m.Version))
	}
	for _, p := range st.modulePaths() {
		m, err := r.moduleManifest(st, p)
		if err != nil {
			return nil, err
		}
		for _, b := range moduleBlobs(m) {
			files = append(files, bundleFile{b.Path(), b.Size, b.SHA256})
		}
		target := st.Targets[roleModules].Signed.Targets[p]
		sum, err := targetHash(target)
		if err != nil {
			return nil, err
		}
		files = append(files, bundleFile{moduleFile(p, sum), target.Length, sum})
		done.Modules = append(done.Modules, m.Name+" "+m.Version+" for "+m.Platform)
	}
	switch {
	case len(done.Bases) == 0:
		return nil, refuse("publish one with freshet-publish base", "%s has no base", r.Dir)
	case len(seen) == 0:
		return nil, refuse("name the version that the machines have, or leave --from away", "no base has a version above %d", from)
	}
	return files, nil
}

// pack fills a bundle. What can fail for want of a file or of room comes first;
// the bundle's metadata is written when the repository has gone beyond it.
func (r *Repository) pack(ctx context.Context, out packer, files []bundleFile, st *state, ring keyring, valid time.Duration) error {
	for i, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.Report != nil {
			r.Report(Progress{Text: "copying", Done: i + 1, Total: len(files)})
		}
		if err := r.packFile(out, f); err != nil {
			return err
		}
	}
	type signed struct {
		name string
		data []byte
	}
	var all []signed
	for _, name := range st.files {
		if slices.ContainsFunc([]string{"timestamp.json", ".snapshot.json", ".bases.json"}, func(end string) bool { return strings.HasSuffix(name, end) }) {
			continue // those are signed for the bundle
		}
		data, err := r.readFile(r.path(name), maxMetadata)
		if err != nil {
			return err
		}
		all = append(all, signed{name, data})
	}
	keep := func(name string, data []byte) error {
		all = append(all, signed{name, data})
		return nil
	}
	if err := r.issue(st, ring, issue{keep, func(string) time.Duration { return valid }}, roleBases); err != nil {
		return err
	}
	if err := r.commit(st, ring, roleBases); err != nil {
		return err
	}
	for _, s := range all {
		if err := out.put(s.name, s.data); err != nil {
			return err
		}
	}
	return out.commit()
}
