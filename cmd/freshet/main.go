// Command freshet keeps the threat databases of an endpoint fresh. It is both
// the agent and the command that talks to it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // whoever interrupts twice means it
	os.Exit(run(ctx, os.Args[1:]))
}
