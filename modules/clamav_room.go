package modules

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
)

// Ways to try a version.
type way int

const (
	wayWhole way = iota // clamscan loads all that clamd would have
	wayAlone            // clamscan loads the version alone
	wayNone             // clamd is the first to read it
)

// room is how a version is tried, by the memory there is. Sizes are bytes.
type room struct {
	way        way
	set        int64 // files that clamd would have
	need       int64 // of an engine with them
	alone      int64 // of an engine with the version alone
	available  int64 // to a try
	reload     int64 // to clamd, for its reload
	measured   bool  // need is by what an engine took, not by a rule of thumb
	running    int64 // what clamd takes now; 0: it does not run
	concurrent bool  // clamd loads its next engine beside the one in use
}

const (
	engineBase = 24 << 20 // an engine without signatures
	spare      = 32 << 20 // left free

	// Bytes of memory for each byte of a file, measured with ClamAV 1.4:
	// 52 MB of hashes took 134 MB. Archives of signatures are compressed.
	perByte        = 3
	perArchiveByte = 5
)

var errNoMemory = errors.New("not enough memory")

// Plan says how a version of size bytes would be tried.
func (c *ClamAV) Plan(ctx context.Context, size int64) (string, error) {
	r, err := c.room(ctx, size)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

func (r room) String() string {
	mib := func(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
	memory := fmt.Sprintf("%s of memory needed for an engine with %s of signatures (%s), %s available",
		mib(r.need), mib(r.set), map[bool]string{true: "measured", false: "estimated"}[r.measured], mib(r.available))
	if r.running > 0 {
		memory += fmt.Sprintf("; clamd takes %s now", mib(r.running))
	}
	switch r.way {
	case wayAlone:
		return "clamscan tries it without the other bases of clamd, whose own reload frees its engine first: " + memory
	case wayNone:
		return "clamd itself is the first to read it, and is started anew if it cannot, for want of memory for a try: " + memory
	}
	how := "clamscan tries it with all of clamd's bases"
	if r.concurrent && r.running > 0 {
		how += ", then clamd loads it beside the engine in use"
	}
	return how + ": " + memory
}

// room chooses how to try a version of size bytes. Two engines at once are
// what the try takes (clamscan's beside clamd's), and then what a reload takes,
// if clamd is set to go on scanning meanwhile; never three.
func (c *ClamAV) room(_ context.Context, size int64) (room, error) {
	others, err := c.others()
	if err != nil {
		return room{}, err
	}
	r := room{set: size, concurrent: concurrentReload(c.settings.Config)}
	weight, now := size*perByte, int64(0)
	for name, st := range others {
		per := int64(perByte)
		if ext := filepath.Ext(name); ext == ".cvd" || ext == ".cld" {
			per = perArchiveByte
		}
		r.set += st.Size()
		weight += st.Size() * per
		now += st.Size() * per
	}
	pid := clamdProcess()
	r.running = residentOf(pid)
	r.need, r.alone = engineBase+weight, engineBase+size*perByte
	if m := c.marker(); m.Peak > engineBase && m.Set > 1<<20 {
		r.need = engineBase + int64(float64(m.Peak-engineBase)/float64(m.Set)*float64(r.set))
		r.measured = true
	}
	r.available = min(memAvailable(), cgroupLeft(os.Getpid())) - spare
	r.reload = r.available
	if pid > 0 {
		r.reload = min(memAvailable(), cgroupLeft(pid)) - spare
	}
	return r.choose(c.settings.Config)
}

func (r room) choose(config string) (room, error) {
	mib := func(n int64) string { return humanize.IBytes(uint64(max(0, n))) }
	switch {
	case r.concurrent && r.running > 0 && r.need > r.reload:
		return r, fmt.Errorf("%w for clamd to load %s of signatures beside its engine, which takes %s: %s needed, %s available; "+
			"with ConcurrentDatabaseReload no in %s it frees that first, and does not scan meanwhile",
			errNoMemory, mib(r.set), mib(r.running), mib(r.need), mib(r.reload), config)
	case r.need <= r.available:
		r.way = wayWhole
	case r.alone <= r.available:
		r.way = wayAlone
	default:
		r.way = wayNone
	}
	return r, nil
}

// concurrentReload says whether clamd loads its next engine beside the one in
// use, which it does unless told otherwise: clamd.conf(5).
func concurrentReload(config string) bool {
	f, err := os.Open(config)
	if err != nil {
		return true
	}
	defer f.Close()
	concurrent := true
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) >= 2 && words[0] == "ConcurrentDatabaseReload" {
			switch strings.ToLower(words[1]) {
			case "no", "false", "0":
				concurrent = false
			default:
				concurrent = true
			}
		}
	}
	return concurrent
}
