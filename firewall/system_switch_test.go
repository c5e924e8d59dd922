//go:build system

package firewall_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/firewall"
)

// prober sends from the peer every millisecond, until it is stopped: allowed
// packets over a connection that stands, allowed connections that are new, and
// forbidden packets.
type prober struct {
	stop                     chan struct{}
	wg                       sync.WaitGroup
	sent, lost, opened, shut atomic.Int64 // of what is allowed
	forbidden, through       atomic.Int64
	longest                  atomic.Int64 // time for an exchange, in nanoseconds
}

func (e *endpoint) probe() *prober {
	p := &prober{stop: make(chan struct{})}
	e.in("", func() { // what is forbidden and arrives is counted
		c, err := net.ListenPacket("udp4", "10.77.0.1:123")
		if err != nil {
			e.t.Error(err)
			return
		}
		e.t.Cleanup(func() { c.Close() })
		go func() {
			for buf := make([]byte, 8); ; {
				if _, _, err := c.ReadFrom(buf); err != nil {
					return
				}
				p.through.Add(1)
			}
		}()
	})
	e.in("p", func() {
		standing, err := net.Dial("tcp4", "10.77.0.1:80")
		bad, err2 := net.Dial("udp4", "10.77.0.1:123")
		if err != nil || err2 != nil {
			e.t.Error(err, err2)
			return
		}
		p.each(func() {
			began := time.Now()
			standing.SetDeadline(began.Add(3 * time.Second))
			p.sent.Add(1)
			if _, err := standing.Write([]byte("x")); err == nil {
				_, err = standing.Read(make([]byte, 1))
				if err == nil {
					p.longest.Store(max(p.longest.Load(), int64(time.Since(began))))
					return
				}
			}
			p.lost.Add(1)
		})
		p.each(func() {
			p.forbidden.Add(1)
			bad.Write([]byte("x"))
		})
	})
	ready := make(chan struct{})
	p.wg.Go(func() {
		e.in("p", func() {
			close(ready)
			p.loop(func() {
				p.opened.Add(1)
				c, err := net.DialTimeout("tcp4", "10.77.0.1:8005", 3*time.Second)
				if err != nil {
					p.shut.Add(1)
					return
				}
				c.Close()
			})
		})
	})
	<-ready
	return p
}

func (p *prober) each(do func()) { p.wg.Go(func() { p.loop(do) }) }

func (p *prober) loop(do func()) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			do()
		}
	}
}

func (p *prober) end(t *testing.T) {
	t.Helper()
	close(p.stop)
	p.wg.Wait()
	t.Logf("%d exchanges over a standing connection, %d lost, the longest %s; %d new connections, %d failed; %d forbidden packets, %d through",
		p.sent.Load(), p.lost.Load(), time.Duration(p.longest.Load()).Round(time.Millisecond), p.opened.Load(), p.shut.Load(), p.forbidden.Load(), p.through.Load())
	if p.lost.Load()+p.shut.Load() > 0 {
		t.Error("what is allowed was lost")
	}
	if p.through.Load() > 0 {
		t.Error("what is forbidden came through")
	}
	if min(p.sent.Load(), p.opened.Load(), p.forbidden.Load()) < 100 {
		t.Error("too little was sent to say anything")
	}
}

func TestASwitchOfTheMechanismLetsNothingThroughAndLosesNothing(t *testing.T) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) {
			e := newParallelWorld(t).endpoint(v)
			e.listen("", "tcp4", "10.77.0.1:80")
			e.listen("", "tcp4", "10.77.0.1:8005")
			want := wanted(matrix)
			want.Policy.Lists = nil
			want.Mechanism = firewall.ByNFTables
			e.mustApply(want)
			p := e.probe()
			for i := range 6 {
				want.Mechanism = []firewall.Mechanism{firewall.ByIPTables, firewall.ByNFTables}[i%2]
				want.Policy.NeverBlock = nets(fmt.Sprintf("192.0.2.%d", i)) // a change as well
				e.keep(want)
				if s := e.check(); s.Set.Mechanism != want.Mechanism {
					t.Fatalf("%s is in force", s.Set.Mechanism)
				}
			}
			p.end(t)
		})
	}
}

// TestAVariantThatIsGoneIsLeft has the host change over to the other variant.
func TestAVariantThatIsGoneIsLeft(t *testing.T) {
	e := newWorld(t).endpoint("legacy")
	a, _ := crashPolicies(e)
	e.mustApply(a)
	if s := e.check(); s.Set.Backend != firewall.IPTablesLegacy {
		t.Fatalf("it stands in %s", s.Set.Backend)
	}
	e.fw.Path = []string{e.tools("nft")}
	other := a
	other.Policy.NeverBlock = nets("192.0.2.1")
	e.mustApply(other)
	if s := e.check(); s.Set.Backend != firewall.IPTablesNFT {
		t.Errorf("it stands in %s", s.Set.Backend)
	}
}
