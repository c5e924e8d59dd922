package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// report is everything that was measured.
type report struct {
	machine  machine
	settings settings
	skipped  []string // corpora, with the reason
	floorRSS int64    // the least memory that can be read
	rows     []row
	hashList *hashListResult
	applies  []applied
	hours    *hourly
	many     *step // in a repository of many bases
	month    *month

	publishing *publishing
}

// markdown is the report as it stands between the marks of docs/benchmarks.md.
func (r *report) markdown() string {
	var b strings.Builder
	r.writeMachine(&b)
	r.writeGoals(&b)
	r.writeBytes(&b)
	r.writeCosts(&b)
	r.writeMaking(&b)
	r.writeApplies(&b)
	r.writeHour(&b)
	r.writeMany(&b)
	r.writeMonth(&b)
	r.writePublishing(&b)
	return strings.TrimSpace(b.String()) + "\n"
}

func (r *report) writeMachine(b *strings.Builder) {
	m := r.machine
	fmt.Fprintf(b, "Measured at commit %s by `%s`, on %d cores of %s. With %s.\n\n", m.Commit, r.command(), m.Cores, m.CPU, strings.Join(m.Tools, ", "))
	if r.settings.partial {
		b.WriteString("This run measured a part only.\n\n")
	}
	if len(r.skipped) > 0 {
		fmt.Fprintf(b, "Left out: %s.\n\n", strings.Join(r.skipped, "; "))
	}
	fmt.Fprintf(b, "CPU is user and system time, memory the peak resident set, of a process of its own; memory below %s cannot be told from nothing.", mib(r.floorRSS))
	if r.settings.jobs > 1 {
		fmt.Fprintf(b, " Where bytes are compared %d tools ran at once, which raises their CPU times somewhat.", r.settings.jobs)
	}
	b.WriteString("\n\n")
}

// command is how the run can be repeated; folders of this machine are left out.
func (r *report) command() string {
	if r.settings.given == "" {
		return "make bench"
	}
	return "go run ./internal/bench" + r.settings.given
}

const (
	beginMark = "<!-- bench: begin; written by make bench -->"
	endMark   = "<!-- bench: end -->"
	freshDoc  = "# Benchmarks\n\n" + beginMark + "\n" + endMark + "\n"
)

// writeDoc puts text between the marks of the document at path, which is made
// if it is not there.
func writeDoc(path, text string) error {
	doc, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		doc, err = []byte(freshDoc), nil
	}
	if err != nil {
		return err
	}
	merged, err := merge(string(doc), text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(merged), 0o644)
}

// merge replaces what stands between the marks.
func merge(doc, text string) (string, error) {
	before, rest, ok := strings.Cut(doc, beginMark)
	if !ok {
		return "", fmt.Errorf("it lacks the line %q", beginMark)
	}
	_, after, ok := strings.Cut(rest, endMark)
	if !ok {
		return "", fmt.Errorf("it lacks the line %q", endMark)
	}
	return before + beginMark + "\n\n" + text + "\n" + endMark + after, nil
}
