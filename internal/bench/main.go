// The program behind make bench: it measures Freshet's deltas and updates on
// real threat databases, beside the tools that people use today, and writes
// what it found to docs/benchmarks.md.
//
// Bytes are counted, outputs are decoded back and compared, and CPU and memory
// are those that the kernel reports for a process of its own: the program runs
// itself for what is ours, see [meter].
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if len(os.Args) > 2 && os.Args[1] == "child" {
		err = child(ctx, os.Args[2], os.Args[3:])
	} else {
		err = bench(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	corpora   string
	only      string
	cache     string
	out       string
	distances []int
	parts     []string
	all       bool
	runs      int
	jobs      int
	hours     int
	synthetic int64  // bytes
	partial   bool   // not everything is measured
	given     string // the flags that were given, but for folders and files
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&s.corpora, "corpora", "../shared/corpora", "`folder` of the corpora")
	f.StringVar(&s.only, "only", "", "measure this corpus alone, by `name`")
	f.StringVar(&s.cache, "cache", "", "keep unpacked corpora in this `folder` (default: a temporary one)")
	f.StringVar(&s.out, "out", "docs/benchmarks.md", "`file` to write; a run with -only or -parts writes to stdout unless it is given")
	pairs := f.String("pairs", "1,3,7,last", "`distances` of the pairs: numbers of versions, and last for first→last")
	parts := f.String("parts", "bytes,apply,hour,many,month,publish", "what to measure")
	f.BoolVar(&s.all, "all", false, "every pair and, on large images too, every tool: takes hours")
	f.IntVar(&s.runs, "runs", 5, "interleaved runs of what is compared by CPU")
	f.IntVar(&s.jobs, "jobs", 2, "tools run at once where bytes are compared")
	f.IntVar(&s.hours, "hours", 7, "versions to publish for the hourly update")
	synthetic := f.Int64("synthetic", 500, "size of the synthetic image in MB (10⁶ bytes)")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if f.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	s.synthetic = *synthetic * 1e6
	s.parts = strings.Split(*parts, ",")
	s.partial = s.only != "" || *parts != f.Lookup("parts").DefValue
	outGiven := false
	f.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "out":
			outGiven = true
		case "corpora", "cache": // folders of this machine
		default:
			s.given += fmt.Sprintf(" -%s=%s", f.Name, f.Value)
		}
	})
	if s.partial && !outGiven {
		s.out = ""
	}
	if s.runs < 1 || s.jobs < 1 || s.hours < 2 {
		return s, fmt.Errorf("-runs and -jobs are at least 1, -hours at least 2")
	}
	var err error
	s.distances, err = parseDistances(*pairs)
	return s, err
}

func parseDistances(text string) ([]int, error) {
	var list []int
	for word := range strings.SplitSeq(text, ",") {
		if word == "last" {
			list = append(list, firstToLast)
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-pairs: %q is neither a number of versions nor last", word)
		}
		list = append(list, n)
	}
	return list, nil
}

// lab is what all measurements share.
type lab struct {
	settings
	meter meter
	work  string // folder for what is in the making
}

// note prints a line of progress.
func (l *lab) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

func bench(ctx context.Context, args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "freshet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if s.cache == "" {
		s.cache = filepath.Join(work, "corpora")
	}
	if s.cache, err = filepath.Abs(s.cache); err != nil {
		return err
	}
	l := &lab{settings: s, meter: meter{self: self}, work: work}
	report, err := l.measure(ctx)
	if report == nil {
		return err
	}
	text := report.markdown()
	if s.out == "" || err != nil { // what was measured is worth reading; the document stays whole
		fmt.Print(text)
		return err
	}
	return writeDoc(s.out, text)
}

// measure does one part after the other. With an error it gives what was
// measured all the same, if anything was.
func (l *lab) measure(ctx context.Context) (*report, error) {
	list, skipped := l.load(ctx)
	r := &report{machine: describe(ctx), settings: l.settings, skipped: skipped}
	var err error
	if r.floorRSS, err = l.meter.floor(ctx); err != nil {
		return nil, err
	}
	var failed error
	for _, part := range []struct {
		name string
		do   func() error
	}{
		{"bytes", func() (err error) { r.rows, err = l.bytes(ctx, list); return err }},
		{"bytes", func() (err error) { r.hashList, err = l.hashList(ctx); return err }},
		{"apply", func() (err error) { r.applies, err = l.applies(ctx, list); return err }},
		{"hour", func() (err error) { r.hours, err = l.hour(ctx, list); return err }},
		{"many", func() (err error) { r.many, err = l.many(ctx); return err }},
		{"month", func() (err error) { r.month, err = l.month(ctx); return err }},
		{"publish", func() (err error) { r.publishing, err = l.publishing(ctx, list); return err }},
	} {
		if !slices.Contains(l.parts, part.name) || ctx.Err() != nil {
			continue
		}
		if err := part.do(); err != nil {
			l.note("part %s: %v", part.name, err)
			failed = errors.Join(failed, fmt.Errorf("part %s: %w", part.name, err))
			r.settings.partial = true
		}
	}
	return r, cmp.Or(ctx.Err(), failed)
}
