package main

import (
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/updater"
)

// shown is how progress is shown: a bar on a terminal, lines to a pipe.
type shown interface {
	progress(api.Progress)
	end()
}

func newShown(f *os.File, silent bool) shown {
	switch {
	case silent:
		return hidden{}
	case term.IsTerminal(int(f.Fd())):
		return &bar{f: f}
	}
	return &lines{f: f}
}

type hidden struct{}

func (hidden) progress(api.Progress) {}
func (hidden) end()                  {}

// lines prints a line for each phase, and none for bytes.
type lines struct {
	f    *os.File
	last string
}

func (l *lines) progress(p api.Progress) {
	line := phaseText(p)
	if line != "" && line != l.last {
		fmt.Fprintln(l.f, line)
		l.last = line
	}
}

func (l *lines) end() {}

// bar shows bytes, steps, speed and time left.
type bar struct {
	f    *os.File
	bar  *progressbar.ProgressBar
	size int64
}

func (b *bar) progress(p api.Progress) {
	if p.Total <= 0 {
		if b.bar == nil {
			fmt.Fprintf(b.f, "\r\x1b[K%s", phaseText(p))
		}
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(p.Total,
			progressbar.OptionSetWriter(b.f), progressbar.OptionShowBytes(true), progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(true), progressbar.OptionShowCount(), progressbar.OptionUseANSICodes(true))
		b.size = p.Total
	}
	if p.Total != b.size {
		b.bar.ChangeMax64(p.Total)
		b.size = p.Total
	}
	if text := phaseText(p); text != "" {
		b.bar.Describe(text)
	}
	b.bar.Set64(min(p.Done, p.Total))
}

func (b *bar) end() {
	if b.bar != nil {
		b.bar.Exit()
		fmt.Fprintln(b.f)
		return
	}
	fmt.Fprint(b.f, "\r\x1b[K")
}

// doing says in words what a phase does. The end of a run is none: its result
// is printed then.
var doing = map[string]string{
	updater.PhaseRefresh:  "asking the sources",
	updater.PhaseFetch:    "fetching",
	updater.PhaseAssemble: "assembling",
	updater.PhaseCheck:    "checking",
	updater.PhaseTry:      "trying",
	updater.PhaseSwitch:   "switching",
	updater.PhaseWatch:    "watching",
}

// phaseText says what is being done, as "fetching maltrail 1/2"; nothing of
// what needs no words.
func phaseText(p api.Progress) string {
	text := doing[p.Phase]
	if text == "" {
		return ""
	}
	if p.Base != "" {
		text += " " + oneLine(p.Base)
	}
	if p.Phase == updater.PhaseFetch && p.Steps > 0 && p.Step > 0 {
		text += fmt.Sprintf(" %d/%d", p.Step, p.Steps)
	}
	return text
}
