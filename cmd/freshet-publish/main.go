// Command freshet-publish makes and keeps a repository of threat databases
// that agents update from.
//
// Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 130 interrupted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3
	exitInterrupted = 130
)

// errPartly says that the work was done, but not all of it; what is missing
// has been said.
var errPartly = errors.New("partly done")

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	a := &app{out: os.Stdout, errs: os.Stderr}
	err := a.command().ExecuteContext(ctx)
	a.endProgress()
	os.Exit(a.finish(ctx, err))
}

// finish prints err and gives the exit code.
func (a *app) finish(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errPartly):
		return exitPartly
	case a.json:
		return a.finishJSON(ctx, err)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.errs, "freshet-publish: error: interrupted")
		fmt.Fprintln(a.errs, "freshet-publish: hint: the repository is whole; the same command again completes it")
		return exitInterrupted
	}
	fmt.Fprintf(a.errs, "freshet-publish: error: %v\n", err)
	var known *publish.Error
	if errors.As(err, &known) && known.Hint != "" {
		fmt.Fprintf(a.errs, "freshet-publish: hint: %s\n", known.Hint)
	}
	if !a.started {
		fmt.Fprintln(a.errs, "freshet-publish: hint: freshet-publish help COMMAND shows how it is used")
		return exitUsage
	}
	return exitFailed
}

// finishJSON is finish for --json: one object.
func (a *app) finishJSON(ctx context.Context, err error) int {
	text, hint, code := err.Error(), "", exitFailed
	var known *publish.Error
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		text, hint, code = "interrupted", "the repository is whole; the same command again completes it", exitInterrupted
	case errors.As(err, &known):
		hint = known.Hint
	}
	if !a.started {
		hint, code = "freshet-publish help COMMAND shows how it is used", exitUsage
	}
	enc := json.NewEncoder(a.errs)
	enc.SetEscapeHTML(false)
	enc.Encode(map[string]any{"error": map[string]any{"text": text, "hint": hint}})
	return code
}

func (a *app) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "freshet-publish",
		Short: "make and keep a repository of threat databases",
		Long: `freshet-publish makes and keeps a repository: a folder of static, signed files
from which agents update their threat databases. Any web server can serve it.

Keys are looked for in the folders given with --keys, in those that the
environment variable FRESHET_KEYS lists (separated by colons), and in the
folder that init was given.

Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 130 interrupted.`,
		Example: `  freshet-publish init /srv/repo --keys /etc/freshet-keys
  freshet-publish base /srv/repo domains domains.txt
  freshet-publish serve /srv/repo --listen 127.0.0.1:8080`,
		Version:       version,
		Args:          noSuchCommand,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SetVersionTemplate(versionLine())
	c.CompletionOptions.DisableDefaultCmd = true
	c.PersistentFlags().BoolVar(&a.json, "json", false, "print the result as JSON")
	c.AddCommand(a.initCommand(), a.baseCommand(), a.moduleCommand(), a.refreshCommand(), a.signCommand(), a.keyCommand(), a.licenceCommand(),
		a.showCommand(), a.verifyCommand(), a.pruneCommand(), a.purgeCommand(), a.bundleCommand(), a.serveCommand(), a.versionCommand())
	return c
}
