package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Two corpora are made where the benchmarks run, as they are not ours to keep
// or too large: binary tables from a package registry, and builds of Freshet.
const (
	geoip     = "geoip-country"
	goProgram = "go-program"

	tablesKept  = 8  // versions of the tables: the newest ones
	commitsBack = 40 // from the older build of Freshet to the newer one
)

// fetchTables takes the newest versions of the npm package geoip-country, which
// has a table of address ranges in each: ten bytes a range.
func (l *lab) fetchTables(ctx context.Context) (*corpus, error) {
	out, err := run(ctx, "", "npm", "view", geoip, "versions", "--json")
	if err != nil {
		return nil, err
	}
	var names []string
	if err := json.Unmarshal(out, &names); err != nil {
		return nil, fmt.Errorf("versions of %s: %w", geoip, err)
	}
	if len(names) < 2 {
		return nil, errors.New("fewer than two versions")
	}
	dir := filepath.Join(l.cache, geoip)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &corpus{Name: geoip}
	for i, name := range names[max(0, len(names)-tablesKept):] {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			if err := fetchTable(ctx, dir, name, path); err != nil {
				return nil, err
			}
		}
		if err := c.add(i+1, path); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func fetchTable(ctx context.Context, dir, name, path string) error {
	said, err := run(ctx, dir, "npm", "pack", "--silent", geoip+"@"+name)
	if err != nil {
		return err
	}
	pack := filepath.Join(dir, filepath.Base(strings.TrimSpace(string(said))))
	defer os.Remove(pack)
	table, err := run(ctx, "", "tar", "-x", "-z", "-O", "-f", pack, "package/data/geoip-country.dat")
	if err != nil {
		return err
	}
	return os.WriteFile(path, table, 0o600)
}

// buildPrograms builds the command freshet as it is at this commit, and as it
// was some commits before.
func (l *lab) buildPrograms(ctx context.Context) (*corpus, error) {
	c := &corpus{Name: goProgram}
	for i, commit := range []string{fmt.Sprintf("HEAD~%d", commitsBack), "HEAD"} {
		out, err := run(ctx, "", "git", "rev-parse", commit)
		if err != nil {
			return nil, err
		}
		path := filepath.Join(l.cache, goProgram, strings.TrimSpace(string(out)))
		if _, err := os.Stat(path); err != nil {
			if err := l.buildAt(ctx, commit, path); err != nil {
				return nil, err
			}
		}
		if err := c.add(i+1, path); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// buildAt builds freshet from the sources of a commit.
func (l *lab) buildAt(ctx context.Context, commit, path string) error {
	src, err := os.MkdirTemp(l.work, "source-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	tar := filepath.Join(src, "source.tar")
	if _, err := run(ctx, "", "git", "archive", "-o", tar, commit); err != nil {
		return err
	}
	if _, err := run(ctx, src, "tar", "-x", "-f", tar); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	l.note("building freshet at %s", commit)
	_, err = run(ctx, src, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", path, "./cmd/freshet")
	return err
}

// add takes a file as a version.
func (c *corpus) add(number int, path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	at := time.Now().Add(time.Duration(number-100) * time.Hour).UTC().Truncate(time.Second)
	c.Versions = append(c.Versions, version{Number: number, Published: at, Size: st.Size(), Path: path})
	return nil
}

func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, tail([]byte(said.String())))
	}
	return out, nil
}
