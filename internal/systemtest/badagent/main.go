//go:build system

// Command badagent takes an agent's place under the supervisor and is bad in the
// way that its first argument names.
//
//	badagent leaks|answers-nothing ARGUMENTS OF freshet...
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/freshet/freshet/modules/supervisor"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "badagent: in which way?")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := run(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "badagent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, how string) error {
	p, err := supervisor.Attach()
	if err != nil {
		return err
	}
	if p == nil {
		return fmt.Errorf("no supervisor started it")
	}
	p.Health = func() []supervisor.Check { return nil }
	go p.Serve() // ends with the line, which ends this process
	if err := p.Ready(ctx, supervisor.Report{Version: "bad"}); err != nil {
		return err
	}
	if how != "answers-nothing" {
		s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		go func() { _ = s.Serve(p.Listener) }()
		defer s.Close()
	}
	if err := p.Serving(); err != nil {
		return err
	}
	live(ctx, p, how)
	return nil
}

// most is what is leaked, in bytes: the machine has others on it.
const most = 512 << 20

// live beats until it is told to end.
func live(ctx context.Context, p *supervisor.Place, how string) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var leak [][]byte
	for {
		p.Beat()
		select {
		case <-ctx.Done():
			return
		case <-p.Ended():
			return
		case <-tick.C:
		}
		if how != "leaks" || len(leak)*leaked >= most {
			continue
		}
		b := make([]byte, leaked)
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1 // it counts once it is used
		}
		leak = append(leak, b)
	}
}

const leaked = 4 << 20 // bytes at a time
