//go:build system

package systemtest_test

import (
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// inNet runs do in the machine's network: sockets that it opens are there.
func (m *machine) inNet(do func()) {
	m.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		f, err := os.Open("/proc/" + m.leader + "/ns/net")
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		m.t.Fatal(err)
	}
}

// prober sends to the machine every millisecond until it is ended: over a
// connection that stands, over new ones, and what is forbidden.
type prober struct {
	m       *machine
	stop    chan struct{}
	closers []func() error
	loops   sync.WaitGroup

	sent, lost, opened, shut, forbidden, through atomic.Int64
	longest                                      atomic.Int64 // exchange, in nanoseconds
	why                                          atomic.Value // what the latest loss was
}

func (m *machine) probe() *prober {
	m.t.Helper()
	_, guest := m.addresses()
	p := &prober{m: m, stop: make(chan struct{})}
	m.inNet(func() {
		l, err := net.Listen("tcp4", guest+":8080")
		bad, err2 := net.ListenPacket("udp4", guest+":9999")
		if err != nil || err2 != nil {
			m.t.Error(err, err2)
			return
		}
		p.closers = append(p.closers, l.Close, bad.Close)
		go echo(l)
		go p.count(bad)
	})
	standing, err := net.DialTimeout("tcp4", guest+":8080", 5*time.Second)
	if err != nil {
		m.t.Fatal(err)
	}
	bad, err := net.Dial("udp4", guest+":9999")
	if err != nil {
		m.t.Fatal(err)
	}
	p.closers = append(p.closers, standing.Close, bad.Close)
	p.each(func() { p.exchange(standing) })
	p.each(func() { p.open(guest + ":8080") })
	p.each(func() {
		p.forbidden.Add(1)
		bad.Write([]byte("x"))
	})
	return p
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for buf := make([]byte, 8); ; {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				c.Write(buf[:n])
			}
		}()
	}
}

func (p *prober) count(c net.PacketConn) {
	for buf := make([]byte, 8); ; {
		if _, _, err := c.ReadFrom(buf); err != nil {
			return
		}
		p.through.Add(1)
	}
}

func (p *prober) each(do func()) {
	p.loops.Go(func() {
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
	})
}

func (p *prober) exchange(c net.Conn) {
	began := time.Now()
	c.SetDeadline(began.Add(5 * time.Second))
	p.sent.Add(1)
	_, err := c.Write([]byte("x"))
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err != nil {
		p.lost.Add(1)
		p.why.Store(err.Error())
		return
	}
	p.longest.Store(max(p.longest.Load(), int64(time.Since(began))))
}

func (p *prober) open(address string) {
	p.opened.Add(1)
	c, err := net.DialTimeout("tcp4", address, 5*time.Second)
	if err != nil {
		p.shut.Add(1)
		p.why.Store(err.Error())
		return
	}
	c.(*net.TCPConn).SetLinger(0) // or its port would be waited for, and some 28,000 are all there are in a minute
	c.Close()
}

func (p *prober) enough() bool {
	return min(p.sent.Load(), p.opened.Load(), p.forbidden.Load()) > 300
}

func (p *prober) end() {
	close(p.stop)
	p.loops.Wait()
	for _, c := range p.closers {
		c()
	}
}

// expectNothingLost ends it, when enough was sent to say something.
func (p *prober) expectNothingLost() {
	p.m.t.Helper()
	poll(p.m.t, 10*time.Second, "packets are sent", p.enough)
	p.end()
	p.m.t.Logf("%d exchanges over a standing connection, %d lost, the longest %s; %d new connections, %d failed; %d forbidden packets, %d through",
		p.sent.Load(), p.lost.Load(), time.Duration(p.longest.Load()).Round(time.Millisecond), p.opened.Load(), p.shut.Load(), p.forbidden.Load(), p.through.Load())
	if p.lost.Load()+p.shut.Load() > 0 {
		p.m.t.Errorf("what is allowed was lost: %v", p.why.Load())
	}
	if p.through.Load() > 0 {
		p.m.t.Error("what is forbidden came through")
	}
}
