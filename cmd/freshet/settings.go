package main

import (
	"errors"
	"fmt"
	"net/http"

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
			var problems settings.Problems
			if err != nil && !errors.As(err, &problems) {
				return err
			}
			return printChecked(cmd, o, file, problems)
		},
	}
}

type checked struct {
	File     string            `json:"file"`
	Valid    bool              `json:"valid"`
	Problems settings.Problems `json:"problems"`
}

func printChecked(cmd *cobra.Command, o *options, file string, problems settings.Problems) error {
	c := checked{File: file, Valid: len(problems) == 0, Problems: problems}
	if c.Problems == nil {
		c.Problems = settings.Problems{}
	}
	switch {
	case o.json:
		if err := printJSON(cmd.OutOrStdout(), c); err != nil {
			return err
		}
	case c.Valid:
		fmt.Fprintf(cmd.OutOrStdout(), "%s is right\n", file)
	default:
		for _, p := range problems {
			fmt.Fprintln(cmd.OutOrStdout(), oneLine(p.String()))
		}
	}
	if c.Valid {
		return nil
	}
	return &api.Error{Code: api.SettingsInvalid, Text: fmt.Sprintf("%s has %d problems", file, len(problems))}
}
