package updater_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// spoilt are a file in use, one that two versions of a tree share, and the
// manifest of a version that is kept to go back to.
var spoilt = []string{"bases/list/2-*/list.txt", "bases/rules/2-*/same.yml", "manifests/*.json"}

// repair fetches anew what is damaged. It fails where something still is.
func repair(ctx context.Context, u *updater.Updater) error {
	found, err := u.Repair(ctx, nil, nil)
	for _, v := range found {
		if v.Error != "" {
			err = errors.Join(err, fmt.Errorf("%s version %d: %s", v.Name, v.Version, v.Error))
		}
	}
	return err
}

// damage spoils what the act says, and notes which versions it struck. Files
// that versions share stay shared.
func (p *power) damage(dir string, a act) {
	p.t.Helper()
	p.spoilt = nil
	if a.spoil == nil {
		return
	}
	for _, pattern := range a.spoil {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) == 0 {
			p.t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		data, err := os.ReadFile(files[0])
		p.must(err)
		data[len(data)/2] ^= 4
		p.must(overwrite(files[0], data))
	}
	struck := map[string]bool{}
	gens, err := (rollback.Store{Dir: dir}).Generations()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, g := range gens {
		for name, ref := range g.Bases {
			if !p.whole(dir, name, ref) {
				struck[name+"/"+ref.Dir] = true
			}
		}
	}
	if len(struck) < 3 {
		p.t.Fatalf("only %v were struck", struck)
	}
	p.spoilt = struck
}

// whole reads a version back and holds it against its hash.
func (p *power) whole(dir, name string, ref rollback.Ref) bool {
	data, err := os.ReadFile(filepath.Join(dir, "manifests", ref.Manifest+".json"))
	if err != nil {
		return false
	}
	m, err := bases.ParseManifest(name, data)
	if err != nil {
		return false
	}
	r, err := bases.OpenVersion(filepath.Join(dir, "bases", name, ref.Dir), m.Image)
	if err != nil {
		return false
	}
	defer r.Close()
	sum, err := r.Sum(p.t.Context())
	return err == nil && sum == m.Image.SHA256 && bases.Hash(sha256.Sum256(data)).String() == ref.Manifest
}

// reported is what an act must have come to that ended well: from here on
// nothing may be damaged.
func (p *power) reported(a act) {
	if a.spoil != nil && p.err == nil {
		p.spoilt = nil
	}
}

// mends asserts that a repair that was cut short is completed by the next one:
// what was whole has stayed so, and all is whole then.
func (p *power) mends(dir string, floor marks, a act) {
	p.t.Helper()
	if a.spoil == nil {
		return
	}
	p.check(dir, floor)
	if err := p.run(dir, nil, act{do: repair}); err != nil {
		p.t.Fatalf("the next repair: %v; %v", err, p.events)
	}
	p.spoilt = nil
	gens, err := (rollback.Store{Dir: dir}).Generations()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, g := range gens {
		for name, ref := range g.Bases {
			if !p.whole(dir, name, ref) {
				p.t.Fatalf("after the next repair %s version %d is damaged", name, ref.Version)
			}
		}
	}
	p.checkRuns(dir, floor)
	p.checkCleared(dir)
}

// checkCleared asserts that no half of anything lies there, but for downloads,
// which are resumed.
func (p *power) checkCleared(dir string) {
	p.t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	p.must(err)
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".part") {
			p.t.Errorf("left over after a repair: tmp/%s", e.Name())
		}
	}
	half, _ := filepath.Glob(filepath.Join(dir, "*.tmp-*"))
	if len(half) > 0 {
		p.t.Errorf("half written after a repair: %v", half)
	}
}
