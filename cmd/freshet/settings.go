package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
)

func settingsCommand(o *options) *cobra.Command {
	return group("settings", "Show the settings in force, or check a file", settingsShowCommand(o), settingsCheckCommand(o))
}

func settingsShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the settings in force, without secrets",
		Example: "  freshet settings show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.needConfig(cmd); err != nil {
				return err
			}
			var out api.Settings
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/settings", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "# %s\n%s", oneLine(out.File), out.YAML)
			if out.Refused != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "freshet: the file as it is now is not in force: %s\n", oneLine(out.Refused))
			}
			return nil
		},
	}
}

func settingsCheckCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Say whether a settings file is right, and if not where it is wrong",
		Example: "  freshet settings check\n  freshet settings check ./new.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := o.config
			if len(args) > 0 {
				file = args[0]
			}
			_, err := settings.Load(file)
			return printChecked(cmd, o, file, err)
		},
	}
}

type checked struct {
	File     string            `json:"file"`
	Valid    bool              `json:"valid"`
	Problems settings.Problems `json:"problems"`
}

// printChecked prints what wrong says of the file; nil: it is right.
func printChecked(cmd *cobra.Command, o *options, file string, wrong error) error {
	problems := settings.Problems{}
	read := wrong == nil || errors.As(wrong, &problems)
	if !read {
		problems = settings.Problems{{File: file, Text: wrong.Error()}}
	}
	c := checked{File: file, Valid: wrong == nil, Problems: problems}
	switch {
	case o.json:
		if err := printJSON(cmd.OutOrStdout(), c); err != nil {
			return err
		}
	case c.Valid:
		fmt.Fprintf(cmd.OutOrStdout(), "%s is right\n", file)
	case read:
		for _, p := range problems {
			fmt.Fprintln(cmd.OutOrStdout(), oneLine(p.String()))
		}
	}
	if c.Valid {
		return nil
	}
	return unfit(file, wrong, len(problems))
}

// unfit is the error that a settings file, wrong as it is, ends a command with.
func unfit(file string, wrong error, problems int) error {
	e := &api.Error{Code: api.SettingsInvalid, Text: wrong.Error()}
	switch {
	case errors.Is(wrong, settings.ErrMissing):
		e.Hint = "name another file, or have freshet enroll URL --root FILE write this one; docs/settings.md has an example with every key"
	case errors.Is(wrong, settings.ErrOpen):
		e.Hint = fmt.Sprintf("chmod go-w %s: it names commands that the agent runs", file)
	case errors.Is(wrong, fs.ErrPermission):
		e.Hint = "run it as root, or as a user that may read the file"
	case errors.As(wrong, &settings.Problems{}) && problems == 1:
		e.Text = fmt.Sprintf("%s has 1 problem", file)
	case errors.As(wrong, &settings.Problems{}):
		e.Text = fmt.Sprintf("%s has %d problems", file, problems)
	}
	return e
}

// needConfig refuses a settings file that was named, by flag or environment,
// and is not there. Without a name the defaults may hold.
func (o *options) needConfig(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("config") && os.Getenv("FRESHET_CONFIG") == "" {
		return nil
	}
	if _, err := os.Stat(o.config); errors.Is(err, fs.ErrNotExist) {
		return unfit(o.config, fmt.Errorf("reading %s: %w", o.config, settings.ErrMissing), 0)
	}
	return nil
}
