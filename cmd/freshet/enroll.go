package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

// maxRootFile is the most of a root of trust that a request has room for.
const maxRootFile = api.MaxRequest/4*3 - 4<<10

func enrollCommand(o *options) *cobra.Command {
	var ask api.Enroll
	var root string
	c := &cobra.Command{
		Use:   "enroll URL",
		Short: "Trust a repository, set it as the source, and run the first update",
		Long: `Enroll makes this host whole in one command. URL is the http or https address of
a repository or a mirror of it, or a folder. Whom to trust is said by the
publisher's root of trust: the file itself (--root), or the SHA-256 of the one
that lies at URL (--fingerprint); get either on a way that you trust.

It checks both, runs the first update from there, and then writes the settings
(what else is in the file stays, with its comments) and the root of trust. Until
that update has succeeded, and if it fails, what was in force stays in force.
Another root than the one trusted now takes --replace.`,
		Example: `  freshet enroll https://updates.example.org/freshet --root root.json
  freshet enroll https://updates.example.org/freshet --fingerprint 9f86d081…0f00a08
  freshet enroll /media/stick/mirror --root root.json --base domains --base urls`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask.Source = args[0]
			if err := readAsk(&ask, root); err != nil {
				return err
			}
			s, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			err = runEnroll(cmd.Context(), cmd.OutOrStdout(), s, ask, o.json)
			return errors.Join(err, s.close())
		},
	}
	f := c.Flags()
	f.StringVar(&root, "root", "", "the publisher's root of trust, a file")
	f.StringVar(&ask.Fingerprint, "fingerprint", "", "its SHA-256, in place of the file")
	f.StringArrayVar(&ask.Bases, "base", nil, "a base to keep, may be given again (default: all that the repository offers, or those that the settings name)")
	f.BoolVar(&ask.Replace, "replace", false, "change over from another root of trust or repository")
	return c
}

// readAsk reads the root of trust into ask, and has a folder be named in full.
func readAsk(ask *api.Enroll, root string) error {
	if !strings.Contains(ask.Source, "://") {
		path, err := filepath.Abs(ask.Source)
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err != nil && !filepath.IsAbs(ask.Source) {
			return &api.Error{Code: api.Usage, Text: fmt.Sprintf("%q is no http or https URL, and no folder", ask.Source), Hint: "put https:// before the name of a host"}
		}
		ask.Source = path
	}
	switch {
	case root == "" && ask.Fingerprint == "":
		return &api.Error{
			Code: api.Usage, Text: "say whom to trust: --root FILE or --fingerprint SHA256",
			Hint: "the publisher gives out metadata/1.root.json, and its SHA-256 (freshet-publish show); get either on a way that you trust",
		}
	case root != "" && ask.Fingerprint != "":
		return &api.Error{Code: api.Usage, Text: "--root and --fingerprint exclude each other"}
	case root == "":
		return nil
	}
	f, err := os.Open(root)
	if err != nil {
		return &api.Error{Code: api.Usage, Text: fmt.Sprintf("the root of trust: %v", err)}
	}
	defer f.Close()
	ask.Root, err = io.ReadAll(io.LimitReader(f, maxRootFile+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the root of trust: %w", err)
	case len(ask.Root) == 0:
		return &api.Error{Code: api.Usage, Text: root + " is empty"}
	case len(ask.Root) > maxRootFile:
		return &api.Error{Code: api.Usage, Text: fmt.Sprintf("%s has more than %d bytes", root, maxRootFile), Hint: "is it the root of trust? give its --fingerprint in place of it"}
	}
	return nil
}

// enrolled is what enroll prints with --json.
type enrolled struct {
	Enrolling api.Enrolling `json:"enrolling"`
	Result    api.Result    `json:"result"`
}

// runEnroll begins an enrolment and follows its update to the end.
func runEnroll(ctx context.Context, w io.Writer, s *session, ask api.Enroll, asJSON bool) error {
	var began api.Enrolling
	if err := s.Do(ctx, http.MethodPost, "/v1/enroll", ask, &began); err != nil {
		return err
	}
	if !asJSON {
		printEnrolling(w, began)
	}
	shown := newShown(os.Stderr, asJSON)
	res, err := follow(ctx, s, began.Task, shown)
	shown.end()
	if ctx.Err() != nil {
		return interrupted(s, began.Task)
	}
	if err != nil {
		return err
	}
	err = outcome(began.Task, res)
	var e *api.Error
	if errors.As(err, &e) && e.Code != api.RunPartly {
		e.Hint = res.Hint
	}
	if asJSON {
		return errors.Join(printJSON(w, enrolled{began, res}), err)
	}
	printResult(w, res)
	if e == nil || e.Code == api.RunPartly {
		printEnrolled(w, began)
	}
	return err
}

// printEnrolling says what was checked.
func printEnrolling(w io.Writer, e api.Enrolling) {
	fmt.Fprintf(w, "source:        %s\n", oneLine(e.Source))
	fmt.Fprintf(w, "root of trust: repository %s, root version %d\n", e.Repository, e.RootVersion)
	fmt.Fprintf(w, "               SHA-256 %s\n", e.Fingerprint)
	if e.Before != "" {
		fmt.Fprintf(w, "in place of:   %s\n", oneLine(e.Before))
	}
	if len(e.Wanted) == 0 {
		fmt.Fprintf(w, "bases:         all that the repository offers, also those to come: %s\n", oneLine(strings.Join(e.Offered, ", ")))
	} else {
		fmt.Fprintf(w, "bases:         %s, of %s\n", oneLine(strings.Join(e.Wanted, ", ")), oneLine(strings.Join(e.Offered, ", ")))
	}
}

// printEnrolled says what was written.
func printEnrolled(w io.Writer, e api.Enrolling) {
	fmt.Fprintf(w, "enrolled: the root of trust is in %s\n", e.Root)
	if len(e.Changes) == 0 {
		fmt.Fprintf(w, "%s stays as it is\n", e.Settings)
	}
	for _, change := range e.Changes {
		fmt.Fprintf(w, "%s: %s\n", e.Settings, oneLine(change))
	}
}
