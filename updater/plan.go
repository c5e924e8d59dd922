package updater

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// maxImage is the largest image in bytes, far above any base: sums of sizes
// then stay far below what an int64 holds.
const maxImage = 1 << 40

// job is a base that an update has to bring to a new version.
type job struct {
	name     string
	manifest *bases.Manifest
	data     []byte // the manifest's bytes
	hash     bases.Hash
	keys     string // see rollback.Ref
	ways     *ways
	have     map[int64]bases.Hash
	steps    []Step
	err      error // set: the base cannot be updated
	held     string
	engine   string        // how its engine will try it
	healthy  bool          // its engine was, before the switch
	baseline bool          // and that is known, so that a failure after it is the version's
	delivery *modules.Room // what delivering it to its engine takes; nil: nothing
	thrifty  bool          // see thrift.go
}

// survey is an update planned, with all it takes to carry it out.
type survey struct {
	offer *offer
	now   rollback.Generation
	state rollback.State
	jobs  []*job
	drop  []string // bases installed that are no longer wanted
	lacks bool     // some base could not be had

	licence    LicenceStatus
	barred     []*job // kept away for want of a licence
	unlicensed error  // says so; nil if none is
}

// survey refreshes the trust and plans. It fetches metadata alone.
func (u *Updater) survey(ctx context.Context) (*survey, error) {
	if err := u.rooted(); err != nil {
		return nil, err
	}
	s := &survey{}
	var err error
	if s.state, s.now, err = u.load(); err != nil {
		return nil, err
	}
	if s.offer, err = u.refresh(ctx); err != nil {
		return nil, err
	}
	u.usurped(ctx, s)
	u.only(ctx, s.offer)
	u.notTooMany(s)
	for _, name := range slices.Sorted(maps.Keys(s.now.Bases)) {
		if u.Bases != nil && !u.KeepAll && !slices.Contains(u.Bases, name) && u.concerns(name) {
			s.drop = append(s.drop, name)
		}
	}
	u.disown(s)
	for _, name := range slices.Sorted(maps.Keys(s.offer.missing)) {
		s.jobs = append(s.jobs, &job{name: name, err: s.offer.missing[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.offer.found)) {
		j, err := u.plan(ctx, s, name, s.offer.found[name])
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			j = &job{name: name, err: err}
		}
		if j != nil {
			s.jobs = append(s.jobs, j)
		}
	}
	u.askEngines(ctx, s)
	return s, u.gate(s)
}

// maxBases is how many bases are taken where the settings name none.
const maxBases = 256

// notTooMany leaves out bases beyond the bound, those that are installed last: who
// signs for bases must not fill the memory of every endpoint.
func (u *Updater) notTooMany(s *survey) {
	if u.Bases != nil || len(s.offer.found) <= maxBases {
		return
	}
	names := slices.Sorted(maps.Keys(s.offer.found))
	u.note(fmt.Sprintf("%d bases are on offer, of which %d are taken: name those you want under bases in the settings", len(names), maxBases))
	for _, installed := range []bool{false, true} {
		for _, name := range slices.Backward(names) {
			if _, ok := s.now.Bases[name]; ok == installed && len(s.offer.found) > maxBases {
				delete(s.offer.found, name)
			}
		}
	}
}

// usurped finds installed bases that another role signs for: the list of bases
// passes them over, and nobody would be told.
func (u *Updater) usurped(ctx context.Context, s *survey) {
	for name := range s.now.Bases {
		if _, ok := s.offer.found[name]; ok || u.Bases != nil {
			continue
		}
		t, err := s.offer.view.Target(ctx, fetcher{s.offer.source, u}, bases.TargetPath(name))
		if err == nil && t.Role != "bases" {
			s.offer.missing[name] = signedBy(t.Role)
		}
	}
}

func signedBy(role string) error {
	return refuse("its manifest is signed by role %q, not \"bases\"", role)
}

// plan finds the way for one base; nil if there is nothing to do.
func (u *Updater) plan(ctx context.Context, s *survey, name string, t trust.Target) (*job, error) {
	installed := s.now.Bases[name]
	if installed.Manifest == t.Hex() && u.present(name, installed) {
		return nil, nil
	}
	m, data, err := u.manifest(ctx, s.offer, name, t)
	if err != nil {
		return nil, err
	}
	j := &job{name: name, manifest: m, data: data, hash: bases.Hash(t.SHA256), keys: t.Keys}
	w, held := s.state.HeldFrom(name, m.Version, t.Keys)
	if !held {
		w, held = s.state.HeldByLoss("base", name, m.Published)
	}
	if held && !u.Foreign {
		j.held = w.Reason
		return j, nil
	}
	if err := u.suits(m, installed, t.Keys); err != nil {
		return nil, err
	}
	j.have = u.atHand(name)
	if u.Foreign {
		maps.DeleteFunc(j.have, func(_ int64, image bases.Hash) bool { return image != m.Image.SHA256 })
	}
	if j.ways, err = u.explore(ctx, s.offer, m, j.have); err != nil && ctx.Err() == nil {
		u.emit(event.DeltaFailed, "base", name, "from", fmt.Sprint(installed.Version), "to", fmt.Sprint(m.Version),
			"error", fmt.Sprintf("no delta index: %v", err))
	}
	j.steps = cheapest(m, j.ways, j.have, nil)
	return j, nil
}

// suits refuses what this agent must not install whatever its content.
func (u *Updater) suits(m *bases.Manifest, installed rollback.Ref, keys string) error {
	if u.Foreign {
		installed = rollback.Ref{}
	}
	freed := installed.Freed(keys)
	if m.Version < installed.Version && !freed {
		return refuse("version %d is offered, %d is installed: a release is undone by a higher version", m.Version, installed.Version)
	}
	if m.Version == installed.Version && !freed && m.Image.SHA256.String() != installed.Image {
		return refuse("version %d is offered with another content than the one installed under that number", m.Version)
	}
	if max(m.Image.Size, m.Full.Size) > maxImage {
		return refuse("its image has %d bytes, %d as fetched; the most is %d", m.Image.Size, m.Full.Size, int64(maxImage))
	}
	if d := m.FromStart(); d != nil && max(m.Start.Size, d.Size) > maxImage {
		return refuse("its full image is that of version %d, of %d bytes, and the delta on from there has %d; the most is %d",
			m.Start.Version, m.Start.Size, d.Size, int64(maxImage))
	}
	if m.Agent != "" && compareVersions(u.Version, m.Agent) < 0 {
		return fmt.Errorf("it needs agent %s, this is %s: update the agent first", m.Agent, u.Version)
	}
	return nil
}

// manifest gives a base's manifest: the stored one if it is that which is
// signed, else fetched and checked.
func (u *Updater) manifest(ctx context.Context, o *offer, name string, t trust.Target) (*bases.Manifest, []byte, error) {
	if t.Length > bases.MaxManifest {
		return nil, nil, fmt.Errorf("its manifest has %d bytes, the most is %d", t.Length, bases.MaxManifest)
	}
	data, err := u.readManifest(t.Hex())
	if fetched, ok := o.data[t.SHA256]; ok {
		data, err = fetched, nil
	}
	if err != nil {
		data, err = u.small(ctx, o, t.FetchPath, t.Length, t.SHA256)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := bases.ParseManifest(name, data)
	if err != nil {
		return nil, nil, &refusedError{err}
	}
	return m, data, nil
}

// explore gathers the ways to m: those in the manifest and, where these do not
// lead from a version at hand and it may pay, those in the delta index, and
// likewise in one far index. On an error the ways are what is known without
// what could not be had.
func (u *Updater) explore(ctx context.Context, o *offer, m *bases.Manifest, have map[int64]bases.Hash) (*ways, error) {
	w := newWays(m)
	if !wantsIndex(m, have) {
		return w, nil
	}
	data, err := u.indexBlob(ctx, o, *m.Index)
	if err != nil {
		return w, err
	}
	x, err := bases.ParseIndex(m.Name, m.Version, data)
	if err != nil {
		return w, err
	}
	w.add(x.Version, x.Deltas)
	c := wantsFar(m, x, w, have)
	if c == nil {
		return w, nil
	}
	if data, err = u.indexBlob(ctx, o, *c.Far); err != nil {
		return w, err
	}
	far, err := bases.ParseFarIndex(m.Name, c.Version, data)
	if err != nil {
		return w, err
	}
	w.addFar(far)
	return w, nil
}

func (u *Updater) indexBlob(ctx context.Context, o *offer, b bases.Blob) ([]byte, error) {
	if b.Size > bases.MaxIndex {
		return nil, fmt.Errorf("it has %d bytes, the most is %d", b.Size, bases.MaxIndex)
	}
	return u.small(ctx, o, b.Path(), b.Size, b.SHA256)
}

// small fetches a file of known length and hash into memory, from the source
// of the offer first and the others after it.
func (u *Updater) small(ctx context.Context, o *offer, path string, size int64, want [sha256.Size]byte) ([]byte, error) {
	return u.fromAny(ctx, o.source, path, size, func(data []byte) bool {
		return int64(len(data)) == size && sha256.Sum256(data) == want
	})
}

// named fetches a file of known hash, whose size is bounded as a manifest's.
func (u *Updater) named(ctx context.Context, path string, want [sha256.Size]byte) ([]byte, error) {
	if len(u.Sources) == 0 {
		return nil, errNoSource
	}
	return u.fromAny(ctx, u.Sources[0], path, bases.MaxManifest, func(data []byte) bool { return sha256.Sum256(data) == want })
}

// fromAny fetches a small file into memory that right knows, from the source
// first and the others after it. Once ctx has ended no source is blamed: the
// error is its cause.
func (u *Updater) fromAny(ctx context.Context, first source.Source, path string, limit int64, right func([]byte) bool) ([]byte, error) {
	var errs []error
	for _, s := range u.sourcesFrom(first) {
		data, err := s.Fetch(ctx, path, limit)
		if err == nil && !right(data) {
			err = fmt.Errorf("%s from %s: %w", path, s.Name(), errNotSigned)
		}
		if err == nil {
			return data, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		u.sourceGave(s, err)
		errs = append(errs, err)
	}
	return nil, inOneLine(errs)
}

// sourcesFrom lists the sources with first in front.
func (u *Updater) sourcesFrom(first source.Source) []source.Source {
	all := []source.Source{first}
	for _, s := range u.Sources {
		if s != first {
			all = append(all, s)
		}
	}
	return all
}

// atHand lists the versions of a base whose content is on disk.
func (u *Updater) atHand(name string) map[int64]bases.Hash {
	have := map[int64]bases.Hash{}
	all, _ := u.store().Generations() // without them a delta is not found: that costs a download
	for _, g := range all {
		ref, ok := g.Bases[name]
		var h bases.Hash
		if ok && h.UnmarshalText([]byte(ref.Image)) == nil && u.present(name, ref) && !u.damaged[u.versionDir(name, ref.Dir)] {
			have[ref.Version] = h
		}
	}
	return have
}

// present says whether a version's folder is there and has the right size; its
// content is judged by verify.
func (u *Updater) present(name string, ref rollback.Ref) bool { return u.presence(name, ref) == nil }

// presence says why a version is not present, or that the disk does not say.
func (u *Updater) presence(name string, ref rollback.Ref) error {
	m, err := u.storedManifest(name, ref)
	if err != nil {
		return err
	}
	r, err := bases.OpenVersion(u.versionDir(name, ref.Dir), m.Image)
	if err != nil {
		return err
	}
	return r.Close()
}

// Plan says what an update would do now. It fetches metadata alone.
func (u *Updater) Plan(ctx context.Context) (Plan, error) {
	defer u.closeIdle()
	s, err := u.survey(ctx)
	if err != nil {
		return Plan{}, err
	}
	p := u.describe(s)
	return p, u.planModules(ctx, s.offer, &p)
}

func (u *Updater) describe(s *survey) Plan {
	p := Plan{Source: s.offer.source.Name(), SignedAt: s.offer.view.SignedAt(), Bases: []BasePlan{}, Free: freeBytes(u.Dir), Ceiling: u.Ceiling, Used: diskUsage(u.Dir)}
	for _, j := range slices.Concat(s.jobs, s.barred) {
		b := BasePlan{Name: j.name, From: s.now.Bases[j.name].Version, Steps: j.steps, Held: j.held, Engine: j.engine}
		if j.manifest != nil {
			b.To, b.Full = j.manifest.Version, j.manifest.Whole()
		}
		if j.err != nil {
			b.Held = j.err.Error()
		}
		for _, step := range j.steps {
			b.Bytes += step.Size
		}
		p.Bases = append(p.Bases, b)
		if d := j.delivery; d != nil {
			p.Bases[len(p.Bases)-1].Delivery = &DeliveryPlan{To: d.To, Disk: d.Need, Free: d.Free}
		}
		if j.err != nil || j.held != "" {
			continue
		}
		p.Bytes += b.Bytes
		p.Full += b.Full
		p.Disk += b.Bytes + j.disk() + u.besides(j)
	}
	return p
}

// rooted says what is wrong with the root of trust, before anybody is asked.
func (u *Updater) rooted() error {
	if _, err := u.client().Load(); err != nil {
		return fmt.Errorf("reading the root of trust: %w", err)
	}
	return nil
}

func (u *Updater) storedManifest(name string, ref rollback.Ref) (*bases.Manifest, error) {
	data, err := u.readManifest(ref.Manifest)
	if err != nil {
		return nil, err
	}
	return bases.ParseManifest(name, data)
}

// readManifest gives the stored manifest of that hash, if it still has it.
func (u *Updater) readManifest(hash string) ([]byte, error) {
	var want bases.Hash
	if err := want.UnmarshalText([]byte(hash)); err != nil {
		return nil, fs.ErrNotExist
	}
	data, err := u.Disk.ReadFile(u.manifestPath(hash), bases.MaxManifest)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != want {
		return nil, fmt.Errorf("%s is damaged", u.manifestPath(hash))
	}
	return data, nil
}

func (u *Updater) manifestPath(hash string) string {
	return filepath.Join(u.Dir, "manifests", hash+".json")
}

func (u *Updater) versionDir(name, dir string) string {
	return filepath.Join(u.Dir, "bases", name, dir)
}
