package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// hourly is what the hourly update of a repository of one base was found to cost.
type hourly struct {
	Corpus  string
	Size    int64 // of the base
	Steps   []step
	Nothing []step // an update when there is nothing new
	First   []step // the first update, from nothing
}

// step is one update of one endpoint.
type step struct {
	Server   string
	From, To int64
	Deltas   int // that the manifest names
	Parts    []part
	Requests int
	Bytes    int64 // of all bodies
	Used     usage
	Floor    usage // of the new image read, hashed and written
}

// part is what one kind of file cost.
type part struct {
	Kind     string
	Requests int
	Bytes    int64
}

// Kinds of files, in the order in which an update asks for them.
const (
	kindRoot      = "next root (not there)"
	kindTimestamp = "timestamp"
	kindSnapshot  = "snapshot"
	kindTargets   = "targets"
	kindBases     = "bases"
	kindManifest  = "manifest"
	kindDelta     = "delta"
	kindFull      = "full image"
	kindOther     = "other"
)

func kinds() []string {
	return []string{kindRoot, kindTimestamp, kindSnapshot, kindTargets, kindBases, kindManifest, kindDelta, kindFull, kindOther}
}

// blobs says what a blob of the repository is, by its hash.
type blobs map[string]string

// kind names what was asked for.
func (b blobs) kind(e exchange) string {
	if m := regexp.MustCompile(`^/blobs/([0-9a-f]{64})$`).FindStringSubmatch(e.Path); m != nil {
		if k, ok := b[m[1]]; ok {
			return k
		}
		return kindFull
	}
	for _, k := range []struct{ pattern, kind string }{
		{`^/metadata/\d+\.root\.json$`, kindRoot},
		{`^/metadata/timestamp\.json$`, kindTimestamp},
		{`^/metadata/\d+\.snapshot\.json$`, kindSnapshot},
		{`^/metadata/\d+\.targets\.json$`, kindTargets},
		{`^/metadata/\d+\.bases\.json$`, kindBases},
		{`^/targets/bases/`, kindManifest},
	} {
		if regexp.MustCompile(k.pattern).MatchString(e.Path) {
			return k.kind
		}
	}
	return kindOther
}

// sum adds exchanges up by kind.
func (b blobs) sum(list []exchange) (parts []part, bytes int64) {
	by := map[string]*part{}
	for _, e := range list {
		k := b.kind(e)
		if by[k] == nil {
			by[k] = &part{Kind: k}
		}
		by[k].Requests++
		by[k].Bytes += e.Bytes
		bytes += e.Bytes
	}
	for _, k := range kinds() {
		if p := by[k]; p != nil {
			parts = append(parts, *p)
		}
	}
	return parts, bytes
}

// of is the bytes of one kind.
func (s step) of(kind string) int64 {
	for _, p := range s.Parts {
		if p.Kind == kind {
			return p.Bytes
		}
	}
	return 0
}

// overhead is what the update cost besides its delta.
func (s step) overhead() int64 { return s.Bytes - s.of(kindDelta) }

// endpoint is an agent's state and the server that it asks.
type endpoint struct {
	*server
	state string
	seen  int // exchanges looked at
}

// repository makes one in a folder of its own, for the caller to remove.
func (l *lab) repository(ctx context.Context) (dir string, repo *publish.Repository, err error) {
	if dir, err = os.MkdirTemp(l.work, "repository-"); err != nil {
		return "", nil, err
	}
	repo = &publish.Repository{Dir: filepath.Join(dir, "repo")}
	if _, err = repo.Init(ctx, filepath.Join(dir, "keys")); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, repo, nil
}

// hour publishes the first versions of the hourly corpus one by one, and has
// an endpoint behind each server follow.
func (l *lab) hour(ctx context.Context, list []*corpus) (*hourly, error) {
	c := largest(list)
	for _, x := range list {
		if x.Name == "maltrail-hourly" {
			c = x
		}
	}
	if c == nil {
		return nil, nil
	}
	dir, repo, err := l.repository(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ends, err := l.endpoints(ctx, repo.Dir, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range ends {
		defer e.close()
	}
	h := &hourly{Corpus: c.Name, Size: last(c).Size}
	for _, v := range c.Versions[:min(l.hours, len(c.Versions))] {
		done, err := repo.Publish(ctx, publish.Release{Name: c.Name, Path: v.Path, File: c.Name, Published: v.Published})
		if err != nil {
			return nil, fmt.Errorf("publishing %s version %d: %w", c.Name, v.Number, err)
		}
		l.note("%s %d published: delta %d bytes, full %d", c.Name, v.Number, done.Delta, done.Full)
		if err := l.follow(ctx, repo, ends, v, h); err != nil {
			return nil, err
		}
	}
	for _, e := range ends {
		s, err := l.update(ctx, repo, e, updater.NothingNew)
		if err != nil {
			return nil, err
		}
		h.Nothing = append(h.Nothing, s)
	}
	return h, nil
}

func (l *lab) endpoints(ctx context.Context, repo, dir string) ([]*endpoint, error) {
	own, err := serveOurs(repo)
	if err != nil {
		return nil, err
	}
	ends := []*endpoint{{server: own, state: filepath.Join(dir, "endpoint")}}
	if _, err := exec.LookPath("nginx"); err != nil {
		l.note("skipping nginx: it is not installed")
		return ends, nil
	}
	conf := filepath.Join(dir, "nginx")
	if err := os.Mkdir(conf, 0o700); err != nil {
		return nil, err
	}
	web, err := serveNginx(ctx, repo, conf)
	if err != nil {
		own.close()
		return nil, err
	}
	return append(ends, &endpoint{server: web, state: filepath.Join(dir, "endpoint-nginx")}), nil
}

// follow updates every endpoint to the version just published.
func (l *lab) follow(ctx context.Context, repo *publish.Repository, ends []*endpoint, v version, h *hourly) error {
	for _, e := range ends {
		s, err := l.update(ctx, repo, e, updater.Updated)
		if err != nil {
			return err
		}
		if s.Floor, err = l.meter.own(ctx, nil, "copy", v.Path, filepath.Join(l.work, "floor")); err != nil {
			return err
		}
		if s.From == 0 {
			h.First = append(h.First, s)
			continue
		}
		h.Steps = append(h.Steps, s)
		l.note("%s %d→%d from %s: delta %d, all bodies %d bytes in %d requests", h.Corpus, s.From, s.To, s.Server, s.of(kindDelta), s.Bytes, s.Requests)
	}
	return nil
}

// update runs the update task of an endpoint once, in a process of its own.
func (l *lab) update(ctx context.Context, repo *publish.Repository, e *endpoint, want string) (step, error) {
	var res updater.Result
	used, err := l.meter.own(ctx, &res, "update", e.state, filepath.Join(repo.Dir, "metadata", "1.root.json"), e.url)
	if err != nil {
		return step{}, err
	}
	if res.Outcome != want {
		return step{}, fmt.Errorf("the update ended as %q (%s), not %q", res.Outcome, res.Error, want)
	}
	list, err := e.since(ctx, e.seen, int(res.Requests))
	if err != nil {
		return step{}, err
	}
	e.seen += len(list)
	known, deltas, err := knownBlobs(repo)
	if err != nil {
		return step{}, err
	}
	s := step{Server: e.name, Requests: len(list), Deltas: deltas, Used: used}
	s.Parts, s.Bytes = known.sum(list)
	if len(res.Bases) == 1 {
		s.From, s.To = res.Bases[0].From, res.Bases[0].To
	}
	if s.Bytes != res.Bytes || s.Requests != int(res.Requests) {
		return s, fmt.Errorf("%s sent %d bytes in %d answers, the agent read %d in %d", e.name, s.Bytes, s.Requests, res.Bytes, res.Requests)
	}
	return s, nil
}

// knownBlobs says which blobs are deltas to the newest version, and how many
// of those its manifest names.
func knownBlobs(repo *publish.Repository) (blobs, int, error) {
	sum, err := repo.Show()
	if err != nil {
		return nil, 0, err
	}
	known, n := blobs{}, 0
	for _, b := range sum.Bases {
		n += len(b.Deltas)
		for _, d := range b.Deltas {
			known[d.SHA256.String()] = kindDelta
		}
	}
	return known, n, nil
}

// updateOnce is the update task of an agent, from request to switch.
func updateOnce(ctx context.Context, args []string) error {
	root, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	count := &source.Counter{}
	u := &updater.Updater{
		Dir: args[0], Runtime: args[0] + "-run", Root: root, Count: count,
		Sources: []source.Source{&source.HTTP{URL: args[2], Proxy: "none", Count: count}},
	}
	lock, err := u.Lock()
	if err != nil {
		return err
	}
	defer lock.Unlock()
	return json.NewEncoder(os.Stdout).Encode(u.Run(ctx, "bench", nil))
}
