package main

import "github.com/spf13/cobra"

const serviceName = "freshet"

func serviceCommand(o *options) *cobra.Command {
	return group("service", "Install and control the agent as a service")
}
