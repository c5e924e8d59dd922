package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"

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
	var known *api.Error
	if err != nil && !understood && !errors.As(err, &known) {
		err = &api.Error{Code: api.Usage, Text: err.Error()}
	}
	return report(os.Stderr, ctx, o.json, err)
}

func rootCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:           "freshet",
		Short:         "Keep the threat databases of this machine fresh",
		Example:       "  freshet status\n  freshet update\n  freshet bases list",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noSuchCommand(cmd, args[0])
			}
			return nil
		},
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
		agentCommand(o), superviseCommand(o), enrollCommand(o), updateCommand(o), importCommand(o), statusCommand(o), basesCommand(o),
		modulesCommand(o), generationsCommand(o), rollbackCommand(o), eventsCommand(o),
		taskCommand(o), licenceCommand(o), settingsCommand(o), firewallCommand(o), supportCommand(o), serviceCommand(o), versionCommand(o),
	)
	root.AddCommand(extraCommands()...)
	root.SetVersionTemplate(versionLine(api.Version{Version: version, Go: goruntime.Version()}))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misused(cmd, err.Error()) })
	sayArguments(root)
	return root
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
