package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

// Where things are unless flags or the environment say otherwise.
const (
	defaultConfig   = "/etc/freshet/freshet.yaml"
	defaultStateDir = "/var/lib/freshet"
	defaultSocket   = "/run/freshet/agent.sock"
)

// options are the flags that every command has.
type options struct {
	config   string
	stateDir string
	socket   string
	json     bool
}

// runtime is the folder that a boot empties.
func (o *options) runtime() string { return filepath.Dir(o.socket) }

// run runs one command and gives its exit code.
func run(ctx context.Context, args []string) int {
	o := &options{}
	root := rootCommand(o)
	root.SetArgs(args)
	understood := false
	root.PersistentPreRun = func(*cobra.Command, []string) { understood = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !understood {
		err = &api.Error{Code: api.Usage, Text: err.Error()}
	}
	return report(os.Stderr, ctx, err)
}

func rootCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:           "freshet",
		Short:         "Keep the threat databases of this machine fresh",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&o.config, "config", fromEnv("FRESHET_CONFIG", defaultConfig), "settings file (FRESHET_CONFIG)")
	f.StringVar(&o.stateDir, "state-dir", fromEnv("FRESHET_STATE_DIR", defaultStateDir), "state folder (FRESHET_STATE_DIR)")
	f.StringVar(&o.socket, "socket", fromEnv("FRESHET_SOCKET", defaultSocket), "the agent's socket (FRESHET_SOCKET)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		agentCommand(o), updateCommand(o), importCommand(o), statusCommand(o), basesCommand(o), eventsCommand(o),
		taskCommand(o), licenceCommand(o), settingsCommand(o), supportCommand(o), serviceCommand(o), versionCommand(o),
	)
	return root
}

// group is a command that only holds others. Called with none of them, or with
// a word that is none, it says so.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errors.New("unknown command " + args[0] + " for " + cmd.CommandPath())
			}
			return errors.New("which one? see " + cmd.CommandPath() + " --help")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(sub...)
	return c
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
