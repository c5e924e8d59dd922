package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/freshet/freshet/publish"
)

// app is what the subcommands share.
type app struct {
	out, errs io.Writer
	json      bool
	keys      []string
	force     bool

	started bool // arguments were right: what fails now is no usage error
	onLine  bool // the terminal's cursor is behind a line of progress
}

// run wraps a subcommand's work.
func (a *app) run(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		a.started = true
		return work(c.Context(), args)
	}
}

// needs says which arguments a subcommand takes.
func needs(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != len(names) {
			takes := strings.Join(names, " ")
			if takes == "" {
				takes = "no arguments"
			}
			return fmt.Errorf("%s takes %s, not %s", c.Name(), takes, english.Plural(len(args), "argument", ""))
		}
		return nil
	}
}

// noSuchCommand refuses a word that is no subcommand of c, and says which may
// have been meant.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += ": is " + strings.Join(near, " or ") + " meant?"
	}
	return errors.New(text)
}

// keysFlag adds what all commands have that sign.
func (a *app) keysFlag(c *cobra.Command) {
	c.Flags().BoolVar(&a.force, "force", false, "sign although the clock is far past the last signing and nothing keeps it right")
	c.Flags().StringArrayVar(&a.keys, "keys", nil, "folder with keys; may be given more than once (default FRESHET_KEYS, then what init was given)")
}

func (a *app) repository(dir string) *publish.Repository {
	keys := a.keys
	if len(keys) == 0 {
		keys = filepath.SplitList(os.Getenv("FRESHET_KEYS"))
	}
	return &publish.Repository{Dir: dir, Keys: keys, Disk: disk(), Clock: testClock(), Force: a.force, Report: a.progress, Stdin: os.Stdin, Warn: func(text string) { a.warn("%s", text) }}
}

// print gives v as JSON with --json, else what text prints.
func (a *app) print(v any, text func(w io.Writer)) error {
	a.endProgress()
	if !a.json {
		text(a.out)
		return nil
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// progress rewrites one line on a terminal, and prints plain lines to a pipe;
// with --json it is silent.
func (a *app) progress(p publish.Progress) {
	if a.json {
		return
	}
	text := p.Text
	if p.Total > 0 {
		text = fmt.Sprintf("%s: %d of %d", p.Text, p.Done, p.Total)
	}
	if f, ok := a.errs.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(a.errs, "\r\x1b[K%s", text)
		a.onLine = true
		return
	}
	if p.Total == 0 || p.Done*4/p.Total != (p.Done-1)*4/p.Total {
		fmt.Fprintln(a.errs, text) // each quarter is enough for a log
	}
}

func (a *app) endProgress() {
	if a.onLine {
		fmt.Fprint(a.errs, "\r\x1b[K")
		a.onLine = false
	}
}

func (a *app) warn(format string, args ...any) {
	a.endProgress()
	fmt.Fprintf(a.errs, "freshet-publish: warning: "+format+"\n", args...)
}
