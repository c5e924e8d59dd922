//go:build system

package systemtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/clamd"
)

const (
	loadSignatures = 1_000_000
	loadClients    = 8
)

// loadOfHost is how many signatures the clamd of the host is given: what a
// million does is shown by Debian's own, and here too in a soak.
func loadOfHost() int {
	if os.Getenv("FRESHET_SOAK") != "" {
		return loadSignatures
	}
	return loadSignatures / 10
}

// TestClamAVIsUpdatedWhileItScans updates a clamd of many signatures while
// eight clients have it scan without pause: first by a plain RELOAD, with the
// file renamed into its folder, then by Freshet. It asserts that every scan has
// a verdict and no verdict is wrong, and prints the longest scan and the most
// memory of both.
func TestClamAVIsUpdatedWhileItScans(t *testing.T) {
	s := newScanner(t, true, map[string]string{"other.hdb": hash("Test.Other", "of another")})
	p := newPublisher(t, released)
	p.hdb(signatures(1, loadOfHost()))
	e := s.endpointFor(p, "hashes", "")
	e.update(api.Updated)
	compareLoads(t, load{
		clamd: s.client, mine: commandHas(s.dir, e.dir), detected: func(version int) bool {
			return s.finds(fmt.Sprintf("version %d", version)) == fmt.Sprintf("Test.Version.%d", version)
		},
		plain: func() { s.plainReload(signatures(2, loadOfHost())) },
		freshet: func() {
			p.hdb(signatures(3, loadOfHost()))
			t.Log(e.run("update", "--dry-run"))
			e.update(api.Updated)
		},
	})
}

// plainReload puts a list in the place of the delivered one, and says RELOAD.
func (s *scanner) plainReload(list string) {
	s.t.Helper()
	path := filepath.Join(s.folder(), "hashes.hdb")
	write(s.t, path+".new", list)
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	if err := s.client.Reload(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// load is a clamd with version 1 of the signatures, and two ways to bring it
// versions 2 and 3.
type load struct {
	clamd          clamd.Client
	mine           func(proc string) bool // whether a process, by its folder in /proc, has to do with it
	detected       func(version int) bool
	plain, freshet func()
}

// compareLoads brings version 2 and then 3 to clamd under load, and prints how
// that went.
func compareLoads(t *testing.T, l load) {
	t.Helper()
	rows := []string{"| 8 clients | scans | longest scan | until detected | most memory: clamd | clamscan | all together |", "| --- | --- | --- | --- | --- | --- | --- |"}
	for i, way := range []struct {
		name   string
		update func()
	}{{"nothing is updated", func() { waitFor(t, 15*time.Second) }}, {"plain RELOAD", l.plain}, {"Freshet", l.freshet}} {
		c := l.clients()
		watch := watchMemory(l.mine)
		began := time.Now()
		way.update()
		if i > 0 {
			poll(t, 5*time.Minute, fmt.Sprintf("version %d is detected", i+1), func() bool { return l.detected(i + 1) })
		}
		took := time.Since(began)
		waitFor(t, 5*time.Second) // the engine in use before is freed
		scans, longest, bad := c.stop()
		m := watch()
		for _, b := range bad {
			t.Errorf("%s: %s", way.name, b)
		}
		if scans == 0 {
			t.Errorf("%s: nothing was scanned", way.name)
		}
		rows = append(rows, fmt.Sprintf("| %s | %d | %s | %s | %d MiB | %d MiB | %d MiB |", way.name, scans,
			longest.Round(time.Millisecond), took.Round(100*time.Millisecond), m["clamd"]>>20, m["clamscan"]>>20, m["all"]>>20))
	}
	t.Log("\n" + strings.Join(rows, "\n"))
}

func waitFor(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// clients scan without pause.
type clients struct {
	stopped context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	scans   int
	longest time.Duration
	bad     []string
}

func (l load) clients() *clients {
	ctx, stop := context.WithCancel(context.Background())
	c := &clients{stopped: stop}
	for n := range loadClients {
		c.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c.scan(l.clamd, n, i)
			}
		})
	}
	return c
}

// scan has one content scanned, of which every right verdict is known: that of
// a version's text depends on the moment.
func (c *clients) scan(client clamd.Client, n, i int) {
	content, right := eicar(), []string{"Test.EICAR"}
	switch i % 4 {
	case 1:
		content, right = fmt.Sprintf("harmless %d %d %s", n, i, strings.Repeat("text ", 2000)), []string{""}
	case 2:
		version := 1 + i/4%3
		content, right = fmt.Sprintf("version %d", version), []string{"", fmt.Sprintf("Test.Version.%d", version)}
	case 3:
		content, right = "of another", []string{"Test.Other"}
	}
	began := time.Now()
	v, err := client.Scan(context.Background(), strings.NewReader(content))
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scans++
	c.longest = max(c.longest, took)
	found := strings.TrimSuffix(v.Found, ".UNOFFICIAL")
	switch {
	case len(c.bad) > 20:
	case err != nil:
		c.bad = append(c.bad, fmt.Sprintf("no verdict on %.20q: %v", content, err))
	case found != right[0] && found != right[len(right)-1]:
		c.bad = append(c.bad, fmt.Sprintf("verdict %q on %.20q", found, content))
	}
}

func (c *clients) stop() (scans int, longest time.Duration, bad []string) {
	c.stopped()
	c.done.Wait()
	return c.scans, c.longest, c.bad
}

// watchMemory looks at the programs of ClamAV and Freshet ten times a second,
// until what it gives is called: the most that each took in bytes, and all at
// one time.
func watchMemory(mine func(string) bool) func() map[string]int64 {
	most := map[string]int64{}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			var all int64
			for name, n := range resident(mine, "clamd", "clamscan", "freshet") {
				most[name] = max(most[name], n)
				all += n
			}
			most["all"] = max(most["all"], all)
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() map[string]int64 {
		close(end)
		<-ended
		return most
	}
}

// commandHas says of processes whether their command line has one of words.
func commandHas(words ...string) func(proc string) bool {
	return func(proc string) bool {
		line, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(line), w) })
	}
}

// resident sums the resident memory of the processes of these names, in bytes.
func resident(mine func(string) bool, names ...string) map[string]int64 {
	sum := map[string]int64{}
	all, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range all {
		comm, _ := os.ReadFile(path)
		name := strings.TrimSpace(string(comm))
		for _, wanted := range names {
			if name != wanted || !mine(filepath.Dir(path)) {
				continue
			}
			statm, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "statm"))
			if f := strings.Fields(string(statm)); len(f) > 1 {
				pages, _ := strconv.ParseInt(f[1], 10, 64)
				sum[name] += pages * int64(os.Getpagesize())
			}
		}
	}
	return sum
}
