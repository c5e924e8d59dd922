package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// row is a pair of versions with what each tool made of it.
type row struct {
	Corpus   string
	Tree     bool
	From, To int   // versions
	Size     int64 // of the new one
	Ours     outcome
	Hash     *outcome // our hash matcher alone; nil: not run
	Image    *outcome // ours over the images of a tree; nil: no tree
	Peers    []outcome
}

// outcome is what one tool did. Its output led back to the new version.
type outcome struct {
	Tool    string
	Bytes   int64
	Make    usage
	Apply   usage
	Applied bool   // whether it was decoded back
	Remark  string // the matcher or format kept
	Skipped string // why there is nothing; then the rest is zero
	Failed  bool   // it ran, in vain
}

// best is the smallest of the peers; nil: none ran.
func (r row) best() *outcome {
	var best *outcome
	for i := range r.Peers {
		if p := &r.Peers[i]; p.Skipped == "" && (best == nil || p.Bytes < best.Bytes) {
			best = p
		}
	}
	return best
}

// peer finds a tool's outcome; nil: it did not run.
func (r row) peer(name string) *outcome {
	for i := range r.Peers {
		if p := &r.Peers[i]; p.Tool == name && p.Skipped == "" {
			return p
		}
	}
	return nil
}

// ratio is ours to the best peer; 0 where there is none.
func (r row) ratio() float64 {
	if b := r.best(); b != nil {
		return float64(r.Ours.Bytes) / float64(b.Bytes)
	}
	return 0
}

func (r row) title() string { return fmt.Sprintf("%d→%d", r.From, r.To) }

// bytes runs every tool on every pair, some at once.
func (l *lab) bytes(ctx context.Context, list []*corpus) ([]row, error) {
	var rows []*row
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(l.jobs)
	for _, c := range list {
		for _, p := range choose(len(c.Versions), l.distances, l.all) {
			r := &row{Corpus: c.Name, Tree: c.Tree, From: c.Versions[p.From].Number, To: c.Versions[p.To].Number, Size: c.Versions[p.To].Size}
			rows = append(rows, r)
			l.schedule(ctx, g, c, p, r)
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var done []row
	for _, r := range rows {
		done = append(done, *r)
	}
	return done, nil
}

// schedule has each tool run on a pair and write its own field of r.
func (l *lab) schedule(ctx context.Context, g *errgroup.Group, c *corpus, p pair, r *row) {
	from, to := c.Versions[p.From], c.Versions[p.To]
	f := files{old: from.Path, new: to.Path}
	chosen := l.all || chosenForSlow(p, len(c.Versions))
	run := func(t tool, f files, what string, into *outcome) {
		g.Go(func() error {
			var err error
			*into, err = l.try(ctx, t, f)
			if into.Skipped != "" {
				l.note("%s %s %s: %s", c.Name, r.title(), what, into.Skipped)
			} else if err == nil {
				l.note("%s %s %s: %d bytes, %.1f s", c.Name, r.title(), what, into.Bytes, into.Make.CPU.Seconds())
			}
			return err
		})
	}
	run(freshet(), f, ours, &r.Ours)
	if to.Size < large || chosen {
		r.Hash = &outcome{}
		run(hashAlone(), f, "hash matcher", r.Hash)
	}
	all := peers()
	r.Peers = make([]outcome, len(all))
	for i, t := range all {
		switch {
		case t.when == onlyAll && !l.all:
			r.Peers[i] = outcome{Tool: t.name, Skipped: "with -all alone"}
		case t.when == slow && to.Size >= large && !chosen:
			r.Peers[i] = outcome{Tool: t.name, Skipped: "too slow for every pair"}
		case t.missing() != "":
			r.Peers[i] = outcome{Tool: t.name, Skipped: t.missing() + " is not installed"}
		default:
			run(t, f, t.name, &r.Peers[i])
		}
	}
	if c.Tree {
		r.Image = &outcome{}
		g.Go(func() error {
			f, err := l.images(ctx, from, to)
			if err != nil {
				return err
			}
			defer os.RemoveAll(filepath.Dir(f.old))
			*r.Image, err = l.try(ctx, freshet(), f)
			l.note("%s %s as a tree: %d bytes", c.Name, r.title(), r.Image.Bytes)
			return err
		})
	}
}

// try runs a tool on a pair and has it decode its output back. That a peer
// fails is its outcome; that ours does, or that an output leads to something
// else than the new version, is an error.
func (l *lab) try(ctx context.Context, t tool, f files) (outcome, error) {
	o := outcome{Tool: t.name}
	dir, err := os.MkdirTemp(l.work, "pair-")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(dir)
	f = f.in(dir)
	fail := func(doing string, err error) (outcome, error) {
		if t.name == ours || t.name == hashAlone().name || ctx.Err() != nil {
			return o, fmt.Errorf("%s %s: %w", doing, t.name, err)
		}
		return outcome{Tool: t.name, Failed: true, Skipped: fmt.Sprintf("%s: %v", doing, err)}, nil
	}
	if o.Make, o.Remark, err = t.make(ctx, l.meter, f); err != nil {
		return fail("making by", err)
	}
	st, err := os.Stat(f.patch)
	if err != nil {
		return fail("making by", err)
	}
	o.Bytes = st.Size()
	if t.apply == nil {
		return o, nil
	}
	if o.Apply, err = t.apply(ctx, l.meter, f); err != nil {
		return fail("applying by", err)
	}
	o.Applied = true
	if same, err := sameContent(f.out, f.new); err != nil || !same {
		return o, fmt.Errorf("%s leads to another content than the new version (%v)", t.name, err)
	}
	return o, nil
}

func sameContent(a, b string) (bool, error) {
	x, err := sumFile(a)
	if err != nil {
		return false, err
	}
	y, err := sumFile(b)
	return x == y, err
}

func sumFile(path string) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// images writes the images of two versions of a tree, as Freshet itself makes
// deltas over them, into a folder of their own.
func (l *lab) images(ctx context.Context, from, to version) (files, error) {
	dir, err := os.MkdirTemp(l.work, "images-")
	if err != nil {
		return files{}, err
	}
	f := files{old: filepath.Join(dir, "old"), new: filepath.Join(dir, "new")}
	for path, v := range map[string]version{f.old: from, f.new: to} {
		if err := l.image(ctx, v.Path, path); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (l *lab) image(ctx context.Context, tar, out string) error {
	tree := out + ".tree"
	if err := os.Mkdir(tree, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if said, err := exec.CommandContext(ctx, "tar", "-x", "-f", tar, "-C", tree).CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking a tree: %w: %s", err, tail(said))
	}
	_, err := l.meter.own(ctx, nil, "image", tree, out)
	return err
}
