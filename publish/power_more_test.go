package publish_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/publish"
)

// more are jobs beside those that make versions.
func more() map[string]job {
	bundle := func(name string) func(context.Context, *publish.Repository, *press) error {
		return func(ctx context.Context, r *publish.Repository, p *press) error {
			out := filepath.Join(p.dir, name)
			if _, err := os.Stat(out); err == nil && filepath.Ext(out) == "" {
				return nil // it is made already, and a folder is not replaced
			}
			_, err := r.Bundle(ctx, publish.Bundle{Out: out})
			return err
		}
	}
	return map[string]job{
		"a bundle in a folder":                         {light: true, least: 2, most: 2, do: bundle("bundle")},
		"a bundle in one file":                         {light: true, least: 2, most: 2, do: bundle("bundle.zip")},
		"another key of timestamp, snapshot and bases": {light: true, least: 2, most: 2, do: replaceKeys("timestamp", "snapshot", "bases")},
		"another key of root and targets":              {light: true, least: 2, most: 2, do: replaceKeys("root", "targets")},
		"asking for a licence": {light: true, least: 2, most: 2, do: func(ctx context.Context, r *publish.Repository, _ *press) error {
			_, err := r.RequireLicence(ctx, true)
			return err
		}},
		"another licence key": {light: true, least: 2, most: 2, do: func(ctx context.Context, r *publish.Repository, _ *press) error {
			_, err := r.LicenceKey(ctx, true)
			return err
		}},
	}
}

// replaceKeys replaces the keys that roles began with, or the first of those.
func replaceKeys(roles ...string) func(context.Context, *publish.Repository, *press) error {
	return func(ctx context.Context, r *publish.Repository, p *press) error {
		var ids []string
		for _, role := range roles {
			ids = append(ids, p.began[role])
		}
		_, err := r.ReplaceKeys(ctx, publish.Rotation{What: ids})
		return err
	}
}

// finish completes a change of keys that was decided and cut short: any command
// that takes the lock does.
func (p *press) finish(r *publish.Repository) {
	p.t.Helper()
	if _, err := os.Stat(filepath.Join(r.Dir, ".pending.json")); err != nil {
		return
	}
	if _, err := r.Verify(p.t.Context()); err == nil {
		p.t.Fatal("what is half way is called well")
	}
	_, err := r.Prune(p.t.Context(), true)
	p.must(err)
}

// checkBundles asserts that a bundle that has its name is whole, as an agent
// reads it, and that the repository has gone beyond it.
func (p *press) checkBundles(r *publish.Repository) {
	p.t.Helper()
	for _, name := range []string{"bundle", "bundle.zip"} {
		out := filepath.Join(p.dir, name)
		if _, err := os.Stat(out); err != nil {
			continue
		}
		from := reader{source.Local(out, nil)}
		c := &trust.Client{Dir: filepath.Join(p.t.TempDir(), "trust"), Root: read(p.t, r, "metadata/1.root.json")}
		view, err := c.Refresh(p.t.Context(), from)
		p.must(err)
		if now := client(p.t, r).Timestamp.Signed.Version; view.Versions()["timestamp"] >= now {
			p.t.Fatalf("the bundle has timestamp %d, the repository %d", view.Versions()["timestamp"], now)
		}
		target, err := view.Target(p.t.Context(), from, bases.TargetPath("list"))
		p.must(err)
		data, err := from.Fetch(p.t.Context(), target.FetchPath, target.Length)
		p.must(err)
		m, err := bases.ParseManifest("list", data)
		p.must(err)
		blob, err := from.Fetch(p.t.Context(), m.Full.Path(), m.Full.Size)
		p.must(err)
		if sha256.Sum256(blob) != m.Full.SHA256 {
			p.t.Fatalf("the full image in %s is damaged", name)
		}
	}
}

func read(t *testing.T, r *publish.Repository, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// reader lets a trust client read from a source.
type reader struct{ source.Source }

func (r reader) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := r.Source.Fetch(ctx, path, limit)
	if errors.Is(err, source.ErrNotFound) {
		return nil, trust.ErrNotFound
	}
	return data, err
}
