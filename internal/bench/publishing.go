package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/freshet/freshet/publish"
)

// release is what publishing one version cost.
type release struct {
	Number int
	Edges  int // deltas in all indexes after it
	Used   usage
}

// publishing is a base published version by version, until deltas lead from as
// many older versions as there ever are.
type publishing struct {
	Title    string
	Size     int64
	Releases []release
}

// publishing publishes the versions of the hourly corpus, and those of the
// daily one, which is the same list later.
func (l *lab) publishing(ctx context.Context, list []*corpus) (*publishing, error) {
	var versions []version
	for _, name := range []string{"maltrail-hourly", "maltrail-daily"} {
		for _, c := range list {
			if c.Name == name {
				versions = append(versions, c.Versions...)
			}
		}
	}
	if len(versions) == 0 {
		return nil, nil
	}
	dir, repo, err := l.repository(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p := &publishing{Title: "maltrail, hours and then days", Size: versions[len(versions)-1].Size}
	for i, v := range versions {
		r := release{Number: i + 1}
		r.Used, err = l.meter.own(ctx, nil, "publish", repo.Dir, filepath.Join(dir, "keys"), v.Path, v.Published.Format(time.RFC3339))
		if err != nil {
			return nil, err
		}
		sum, err := repo.Show()
		if err != nil {
			return nil, err
		}
		r.Edges = sum.Bases[0].Edges
		l.note("publishing version %d of %d: %s of CPU, %s", i+1, len(versions), seconds(r.Used.CPU), mib(r.Used.RSS))
		p.Releases = append(p.Releases, r)
	}
	return p, nil
}

// publishOne publishes one version: REPO KEYS PATH TIME.
func publishOne(ctx context.Context, args []string) error {
	at, err := time.Parse(time.RFC3339, args[3])
	if err != nil {
		return err
	}
	repo := &publish.Repository{Dir: args[0], Keys: []string{args[1]}}
	done, err := repo.Publish(ctx, publish.Release{Name: "list", Path: args[2], File: "list.txt", Published: at})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

// dearest is the version that took the most CPU.
func (p *publishing) dearest() release {
	worst := release{}
	for _, r := range p.Releases {
		if r.Used.CPU > worst.Used.CPU {
			worst = r
		}
	}
	return worst
}

func (r *report) writePublishing(b *strings.Builder) {
	p := r.publishing
	if p == nil {
		return
	}
	t := &table{head: []string{"version", "deltas kept", "CPU", "memory", "by the clock"}}
	for i, x := range p.Releases {
		if i%6 == 0 || i == len(p.Releases)-1 {
			t.add(fmt.Sprint(x.Number), fmt.Sprint(x.Edges), seconds(x.Used.CPU), mib(x.Used.RSS), seconds(x.Used.Wall))
		}
	}
	fmt.Fprintf(b, "## Publishing\n\n%s (%s), version by version, each by a process of its own that makes the deltas from the 24 versions "+
		"before it, from the checkpoints since the last milestone and from the milestones, and for the first of a day "+
		"the full image.\n\n%s\n", p.Title, mb(p.Size), t)
}

func (r *report) publishingGoals(t *table) {
	if r.publishing == nil {
		return
	}
	worst := r.publishing.dearest()
	t.add(fmt.Sprintf("publishing %s ≤ %s of CPU", mb(r.publishing.Size), publishCPU),
		fmt.Sprintf("%s at most (version %d)", seconds(worst.Used.CPU), worst.Number), verdict(worst.Used.CPU <= publishCPU))
}
