package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/launch"
	"github.com/freshet/freshet/modules/supervisor"
)

// superviseMemory has the garbage collector work hard before the supervisor
// grows.
const superviseMemory = 10 << 20

func superviseCommand(o *options) *cobra.Command {
	s := &supervisor.Supervisor{}
	c := &cobra.Command{
		Use:    "supervise",
		Hidden: true,
		Short:  "Run the agent as a service: start it, watch it, and take back a version that is unhealthy",
		Long: `Supervise is what the service runs. It starts the agent of the current
generation, hands over to a new one, judges it, and goes back to the good one.
freshet agent runs the agent alone.`,
		Example: "  freshet supervise",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			debug.SetMemoryLimit(superviseMemory)
			return o.supervise(cmd.Context(), s)
		},
	}
	f := c.Flags()
	for _, t := range []struct {
		to    *time.Duration
		name  string
		usage string
	}{
		{&s.Times.Gate, "gate", "the first judgement of new modules (default 1m)"},
		{&s.Times.Soak, "soak", "until new modules are confirmed, after the gate (default 10m)"},
		{&s.Times.Ready, "ready", "that a program may take to load (default 1m)"},
		{&s.Times.Stop, "stop", "that a program may take to end (default 25s)"},
		{&s.Times.Beat, "beat", "without a sign of the agent's main loop (default 1m30s)"},
		{&s.Times.Look, "look", "between two looks at modules on trial (default 5s)"},
		{&s.Times.Resume, "resume", "until a trial that was broken off goes on (default 1m)"},
		{&s.Times.Pause, "pause", "before what ended is started again, doubled each time (default 1s)"},
		{&s.Times.Rest, "rest", "the longest of these pauses (default 5m)"},
		{&s.Times.CPU, "cpu", "that more CPU than usual is borne (default 2m)"},
	} {
		f.DurationVar(t.to, t.name, 0, t.usage)
	}
	return c
}

func (o *options) supervise(ctx context.Context, s *supervisor.Supervisor) error {
	for _, path := range []*string{&o.config, &o.stateDir, &o.socket} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if os.Getenv(supervisor.SlotEnv) == "" {
		// No launcher started it: it is its own.
		launch.Exec(launch.Place{Dir: o.stateDir, Runtime: o.runtime(), Package: program}, os.Args[1:])
		return &api.Error{Code: api.Internal, Text: "no version of the supervisor can be started", Hint: "install the package again"}
	}
	if s.Disk, err = testDisk(); err != nil {
		return err
	}
	if s.Clock, err = testClock(); err != nil {
		return err
	}
	s.Dir, s.Runtime, s.Socket, s.Settings = o.stateDir, o.runtime(), o.socket, o.config
	s.Args = []string{"--config", o.config, "--state-dir", o.stateDir, "--socket", o.socket}
	s.SuperviseArgs = timeFlags(s.Times)
	s.Program, s.Package, s.Version, s.Output = program, os.Getenv(supervisor.PackageEnv), version, os.Stderr
	s.Notify = func(state string) {
		if state == daemon.SdNotifyReady || state == daemon.SdNotifyStopping {
			launch.Clear(o.runtime())
		}
		_, _ = daemon.SdNotify(false, state) // without a service manager nobody wants it
	}
	if interval, err := daemon.SdWatchdogEnabled(false); err == nil {
		s.Watchdog = interval
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go func() {
		for range hup {
			s.Poke()
		}
	}()
	return s.Run(ctx)
}

// timeFlags are the flags that t was given by.
func timeFlags(t supervisor.Times) []string {
	var args []string
	for name, d := range map[string]time.Duration{
		"gate": t.Gate, "soak": t.Soak, "ready": t.Ready, "stop": t.Stop, "beat": t.Beat,
		"look": t.Look, "resume": t.Resume, "pause": t.Pause, "rest": t.Rest, "cpu": t.CPU,
	} {
		if d > 0 {
			args = append(args, "--"+name, d.String())
		}
	}
	return args
}
