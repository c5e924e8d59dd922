package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// corpus is one database in its versions, unpacked.
type corpus struct {
	Name     string
	Tree     bool // a version is a tar
	Versions []version
}

// version is one version of a corpus as its MANIFEST gives it.
type version struct {
	Number    int
	Published time.Time
	SHA256    string
	Size      int64
	Path      string
}

// corpora are all that are looked for, small ones first.
func corpora() []string {
	return []string{"email-domains", "phishing-json", geoip, goProgram, "hub-tree", "maltrail-hourly", "maltrail-daily"}
}

func (l *lab) loadCorpus(ctx context.Context, name string) (*corpus, error) {
	switch name {
	case geoip:
		return l.fetchTables(ctx)
	case goProgram:
		return l.buildPrograms(ctx)
	}
	return loadCorpus(ctx, l.corpora, name, l.cache)
}

// load unpacks the corpora that are there. What is left out is told with its reason.
func (l *lab) load(ctx context.Context) (list []*corpus, skipped []string) {
	for _, name := range corpora() {
		if l.only != "" && l.only != name {
			continue
		}
		c, err := l.loadCorpus(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			skipped = append(skipped, name+": the corpus is not there")
		case err != nil:
			skipped = append(skipped, name+": it could not be had") // err may name folders
		default:
			list = append(list, c)
			continue
		}
		l.note("skipping %s: %v", name, err)
	}
	return list, skipped
}

// loadCorpus unpacks a corpus into the folder cache, unless that was done
// before; its unpack holds each version against its hash.
func loadCorpus(ctx context.Context, dir, name, cache string) (*corpus, error) {
	c, err := readManifest(filepath.Join(dir, name, "MANIFEST"))
	if err != nil {
		return nil, err
	}
	c.Name = name
	out := filepath.Join(cache, name)
	whole := true
	for i := range c.Versions {
		v := &c.Versions[i]
		v.Path = filepath.Join(out, fmt.Sprintf("%03d", v.Number))
		if c.Tree {
			v.Path += ".tar"
		}
		st, err := os.Stat(v.Path)
		whole = whole && err == nil && st.Size() == v.Size
	}
	if whole {
		return c, nil
	}
	unpack, err := filepath.Abs(filepath.Join(dir, "unpack"))
	if err != nil {
		return nil, err
	}
	if said, err := exec.CommandContext(ctx, "bash", unpack, name, out).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("unpacking: %w: %s", err, tail(said))
	}
	return c, nil
}

// readManifest reads lines of number, time of publication, SHA-256, size and
// kind, parted by tabs.
func readManifest(path string) (*corpus, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &corpus{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		v, kind, err := parseVersion(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		c.Tree = kind == "tar"
		c.Versions = append(c.Versions, v)
	}
	if len(c.Versions) < 2 {
		return nil, errors.New("fewer than two versions")
	}
	return c, lines.Err()
}

func parseVersion(line string) (version, string, error) {
	field := strings.Split(line, "\t")
	if len(field) != 5 {
		return version{}, "", fmt.Errorf("%d fields, want 5", len(field))
	}
	n, err := strconv.Atoi(field[0])
	if err != nil {
		return version{}, "", err
	}
	at, err := time.Parse(time.RFC3339, field[1])
	if err != nil {
		return version{}, "", err
	}
	size, err := strconv.ParseInt(field[3], 10, 64)
	return version{Number: n, Published: at, SHA256: field[2], Size: size}, field[4], err
}

// largest is the corpus of files with the largest newest version; nil: there is none.
func largest(list []*corpus) *corpus {
	var best *corpus
	for _, c := range list {
		if !c.Tree && (best == nil || last(c).Size > last(best).Size) {
			best = c
		}
	}
	return best
}

func last(c *corpus) version { return c.Versions[len(c.Versions)-1] }
