package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "print the version of this program",
		Example: "  freshet-publish version",
		Args:    needs(),
		RunE: a.run(func(context.Context, []string) error {
			v := map[string]string{"version": version, "go": runtime.Version()}
			return a.print(v, func(w io.Writer) { fmt.Fprint(w, versionLine()) })
		}),
	}
}

func versionLine() string {
	return fmt.Sprintf("freshet-publish %s (%s)\n", version, runtime.Version())
}
