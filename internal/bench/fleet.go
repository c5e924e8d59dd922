package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// A repository of many bases, of which an hour changes a few.
const (
	manyBases   = 100
	manyChanged = 5
	manyRecords = 1000 // of each base
	manyAdded   = 3    // records that a changed base gains
)

// many publishes the bases, has an endpoint take them all, changes some, and
// tells what that update cost.
func (l *lab) many(ctx context.Context) (*step, error) {
	dir, repo, err := l.repository(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	own, err := serveOurs(repo.Dir)
	if err != nil {
		return nil, err
	}
	end := &endpoint{server: own, state: filepath.Join(dir, "endpoint")}
	defer end.close()
	g := generator(4)
	lists := make([][][]byte, manyBases)
	now := time.Now().Add(-2 * time.Hour)
	put := func(i, records int, at time.Time) error {
		for range records {
			lists[i] = append(lists[i], record(g))
		}
		slices.SortFunc(lists[i], bytes.Compare)
		path := filepath.Join(dir, "base")
		if err := os.WriteFile(path, slices.Concat(lists[i]...), 0o600); err != nil {
			return err
		}
		_, err := repo.Publish(ctx, publish.Release{Name: fmt.Sprintf("base-%03d", i), Path: path, File: "list.txt", Published: at})
		return err
	}
	for i := range lists {
		if err := put(i, manyRecords, now); err != nil {
			return nil, err
		}
	}
	l.note("%d bases published", manyBases)
	if _, err := l.update(ctx, repo, end, updater.Updated); err != nil {
		return nil, err
	}
	for _, i := range rand.New(g).Perm(manyBases)[:manyChanged] {
		if err := put(i, manyAdded, now.Add(time.Hour)); err != nil {
			return nil, err
		}
	}
	s, err := l.update(ctx, repo, end, updater.Updated)
	return &s, err
}

func (r *report) writeMany(b *strings.Builder) {
	if r.many == nil {
		return
	}
	t := &table{head: []string{"kind", "requests", "bytes"}}
	for _, p := range r.many.Parts {
		t.add(p.Kind, fmt.Sprint(p.Requests), fmt.Sprint(p.Bytes))
	}
	t.add("all", fmt.Sprint(r.many.Requests), fmt.Sprint(r.many.Bytes))
	fmt.Fprintf(b, "### A repository of %d bases\n\nSorted lists of %d hashes, of which %d gained %d records each; one endpoint that had all before.\n\n%s\n",
		manyBases, manyRecords, manyChanged, manyAdded, t)
}

func (r *report) manyGoals(t *table) {
	if r.many == nil {
		return
	}
	asked := 6 + 2*manyChanged
	t.add(fmt.Sprintf("%d of %d bases changed: ≤ deltas + %d bytes of bodies", manyChanged, manyBases, manyOverhead),
		fmt.Sprintf("deltas + %d bytes", r.many.overhead()), verdict(r.many.overhead() <= manyOverhead))
	t.add(fmt.Sprintf("%d of %d bases changed: ≤ %d requests", manyChanged, manyBases, asked),
		fmt.Sprintf("%d requests", r.many.Requests), verdict(r.many.Requests <= asked))
}
