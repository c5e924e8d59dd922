package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program, and of the agent that runs",
		Example: "  freshet version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own := api.Version{Version: version, Go: runtime.Version(), API: "v1"}
			both := struct {
				Command api.Version  `json:"command"`
				Agent   *api.Version `json:"agent,omitempty"`
			}{Command: own}
			var agent api.Version
			if err := api.Dial(o.socket).Get(cmd.Context(), "/v1/version", &agent); err == nil {
				both.Agent = &agent
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), both)
			}
			fmt.Fprint(cmd.OutOrStdout(), versionLine(own))
			if both.Agent != nil && both.Agent.Version != own.Version {
				fmt.Fprintf(cmd.OutOrStdout(), "agent %s (%s)\n", oneLine(agent.Version), oneLine(agent.Go))
			}
			return nil
		},
	}
}

func versionLine(v api.Version) string { return fmt.Sprintf("freshet %s (%s)\n", v.Version, v.Go) }
