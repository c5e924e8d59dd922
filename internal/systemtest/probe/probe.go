//go:build system

// Package probe sends over a path whose firewall changes, to see that what is
// allowed is never lost and what is forbidden never comes through.
package probe

import (
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// In runs do in a network namespace, by the file that stands for it; "" is that
// of the process. Sockets that do opens are there.
func In(namespace string, do func() error) error {
	if namespace == "" {
		return do()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		f, err := os.Open(namespace)
		if err == nil {
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
			f.Close()
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// A Path leads from one network namespace to another one. Addresses are those of
// the other one, each with its port.
type Path struct {
	From, To  string
	Standing  string // TCP, over one connection
	New       string // TCP, by a connection each
	Forbidden string // UDP
}

// Probe sends every millisecond until it is ended.
type Probe struct {
	stop    chan struct{}
	loops   sync.WaitGroup
	closers []func() error
	end     sync.Once

	sent, lost         atomic.Int64
	opened, shut       atomic.Int64
	forbidden, through atomic.Int64
	longest            atomic.Int64 // exchange, in nanoseconds
	why                atomic.Value // what the latest loss was
}

// Begin listens at the path's end and sends from its beginning. What it opened
// is closed at the end of t at the latest.
func Begin(t testing.TB, path Path) *Probe {
	t.Helper()
	p := &Probe{stop: make(chan struct{})}
	t.Cleanup(p.End)
	if err := In(path.To, func() error { return p.listen(path) }); err != nil {
		t.Fatal(err)
	}
	begun := make(chan error, 1)
	p.loops.Go(func() {
		err := In(path.From, func() error {
			err := p.send(path)
			begun <- err
			if err == nil {
				p.each(func() { p.open(path.New) }) // each socket is opened in the namespace
			}
			return nil
		})
		if err != nil {
			begun <- err
		}
	})
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Probe) listen(path Path) error {
	addresses := []string{path.Standing}
	if path.New != path.Standing {
		addresses = append(addresses, path.New)
	}
	for _, address := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		p.closers = append(p.closers, l.Close)
		go Echo(l)
	}
	c, err := net.ListenPacket("udp", path.Forbidden)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, c.Close)
	go p.count(c)
	return nil
}

// send begins to send over what is opened once.
func (p *Probe) send(path Path) error {
	standing, err := net.DialTimeout("tcp", path.Standing, 5*time.Second)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, standing.Close)
	bad, err := net.Dial("udp", path.Forbidden)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, bad.Close)
	p.loops.Go(func() { p.each(func() { p.exchange(standing) }) })
	p.loops.Go(func() {
		p.each(func() {
			p.forbidden.Add(1)
			bad.Write([]byte("x"))
		})
	})
	return nil
}

// Echo sends back what comes, until l is closed.
func Echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for buf := make([]byte, 64); ; {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				c.Write(buf[:n])
			}
		}()
	}
}

func (p *Probe) count(c net.PacketConn) {
	for buf := make([]byte, 8); ; {
		if _, _, err := c.ReadFrom(buf); err != nil {
			return
		}
		p.through.Add(1)
	}
}

func (p *Probe) each(do func()) {
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

func (p *Probe) exchange(c net.Conn) {
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

func (p *Probe) open(address string) {
	p.opened.Add(1)
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		p.shut.Add(1)
		p.why.Store(err.Error())
		return
	}
	c.(*net.TCPConn).SetLinger(0) // else its port is taken for a minute, and there are some 28,000
	c.Close()
}

// Through is how many forbidden packets came through.
func (p *Probe) Through() int64 { return p.through.Load() }

// Enough says whether so much was sent that its arrival says something.
func (p *Probe) Enough() bool {
	return min(p.sent.Load(), p.opened.Load(), p.forbidden.Load()) > 300
}

// End stops sending and closes all.
func (p *Probe) End() {
	p.end.Do(func() {
		close(p.stop)
		p.loops.Wait()
		for _, c := range p.closers {
			c()
		}
	})
}

// ExpectNothingLost ends the probe when enough was sent.
func (p *Probe) ExpectNothingLost(t testing.TB) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !p.Enough() && time.Now().Before(limit); {
		time.Sleep(10 * time.Millisecond)
	}
	if !p.Enough() {
		t.Error("too little was sent to say anything")
	}
	p.End()
	t.Logf("%d exchanges over a standing connection, %d lost, the longest %s; %d new connections, %d failed; %d forbidden packets, %d through",
		p.sent.Load(), p.lost.Load(), time.Duration(p.longest.Load()).Round(time.Millisecond), p.opened.Load(), p.shut.Load(), p.forbidden.Load(), p.through.Load())
	if p.lost.Load()+p.shut.Load() > 0 {
		t.Errorf("what is allowed was lost: %v", p.why.Load())
	}
	if p.through.Load() > 0 {
		t.Error("what is forbidden came through")
	}
}
