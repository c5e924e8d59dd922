package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

// zipMagic is what every .zip file begins with.
const zipMagic = "PK"

func importCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "import PATH",
		Short: "Bring the bases to what a bundle or a mirror on a stick has",
		Long: `Import runs the task Update (6) with PATH for its only source: a bundle, as
freshet-publish bundle makes it, in a folder or in one .zip file, or a copy of a
repository. It is verified like any mirror. One that is older than what this
machine has seen changes nothing, and is no failure.`,
		Example: `  freshet import /media/stick/freshet.zip
  freshet import /mnt/mirror`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := looksImportable(args[0]); err != nil {
				return err
			}
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			s, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			err = runImport(cmd.Context(), cmd.OutOrStdout(), s, path, o.json)
			return errors.Join(err, s.close())
		},
	}
}

// looksImportable refuses a file that is no archive. What cannot be read here is
// left to the agent.
func looksImportable(path string) error {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, len(zipMagic))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != zipMagic {
		return &api.Error{
			Code: api.RunFailed, Text: path + " is neither a folder nor a bundle",
			Hint: "freshet-publish bundle REPO OUT.zip makes one",
		}
	}
	return nil
}

// runImport starts an import and follows it to its end.
func runImport(ctx context.Context, w io.Writer, s *session, path string, asJSON bool) error {
	var started api.Started
	if err := s.Do(ctx, http.MethodPost, "/v1/import", api.Import{Path: path}, &started); err != nil {
		return err
	}
	shown := newShown(os.Stderr, asJSON)
	res, err := follow(ctx, s, started.Task, shown)
	shown.end()
	if ctx.Err() != nil {
		return interrupted(s, started.Task)
	}
	if err != nil {
		return err
	}
	switch {
	case asJSON:
		err = printJSON(w, res)
	case res.Outcome == api.NothingNew && res.Hint != "":
		fmt.Fprintf(w, "nothing new: %s\n", oneLine(res.Hint))
	default:
		printResult(w, res)
	}
	return errors.Join(err, imported(started.Task, res))
}

// imported is the error that an import's result means.
func imported(task int, res api.Result) error {
	err := outcome(task, res)
	var e *api.Error
	if errors.As(err, &e) && res.Hint != "" {
		e.Hint = res.Hint
	}
	if e != nil && e.Code == api.RunFailed {
		e.Text = "import failed: " + res.Error
	}
	return err
}
