package main

import (
	"context"
	"runtime/debug"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/eventlog"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/modules/supervisor"
)

func agentCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "agent",
		Short: "Run the agent in the foreground, as a service does",
		Example: `  freshet agent
  freshet agent --config ./freshet.yaml --state-dir ./state --socket ./run/agent.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A service waits for its file: it must outlive a mistake.
			if err := o.needConfig(cmd); err != nil && service.Interactive() && !supervisor.Above() {
				return err
			}
			return runAgent(cmd.Context(), o)
		},
	}
}

// idleMemory has the garbage collector work hard before the agent grows.
const idleMemory = 20 << 20

func runAgent(ctx context.Context, o *options) error {
	debug.SetMemoryLimit(idleMemory)
	place, err := supervisor.Attach()
	if err != nil {
		return err
	}
	a, err := o.agent()
	if err != nil {
		return err
	}
	log := settings.Default().Log
	if s, err := settings.Load(o.config); err == nil {
		log = s.Log
	}
	if a.Log, err = eventlog.NewLogger(log.To, log.Level); err != nil {
		return err
	}
	if interval, err := daemon.SdWatchdogEnabled(false); err == nil && interval > 0 {
		a.BeatEvery = interval / 2
		a.Beat = func() { daemon.SdNotify(false, daemon.SdNotifyWatchdog) }
	}
	if err := a.Open(); err != nil {
		return err
	}
	if place != nil {
		return a.RunUnder(ctx, place)
	}
	p := &program{ended: make(chan struct{})}
	p.work = func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { daemon.SdNotify(false, daemon.SdNotifyStopping) })()
		return a.Run(ctx, o.socket, func() { daemon.SdNotify(false, daemon.SdNotifyReady) })
	}
	if service.Interactive() {
		return p.work(ctx)
	}
	return p.serve(ctx)
}

// program is the agent as a service manager runs it.
type program struct {
	work   func(context.Context) error
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of work, once ended is closed
}

// serve works until the service manager, or ctx, says stop.
func (p *program) serve(ctx context.Context) error {
	s, err := service.New(p, &service.Config{
		Name:   serviceName,
		Option: service.KeyValue{"RunWait": func() { p.wait(ctx) }},
	})
	if err != nil { // no service manager is known here
		return p.work(ctx)
	}
	return s.Run()
}

func (p *program) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-p.ended:
	}
}

// Start implements service.Interface.
func (p *program) Start(service.Service) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		p.err = p.work(ctx)
	}()
	return nil
}

// Stop implements service.Interface.
func (p *program) Stop(service.Service) error {
	p.cancel()
	<-p.ended
	return p.err
}
