//go:build system

package firewall_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/systemtest/probe"
)

// world is a host in a network namespace of its own, a peer on its wire, and a
// container behind it. Nothing outside of them is touched.
//
//	peer 10.77.0.2 ──── 10.77.0.1 host 10.88.0.1 ──── 10.88.0.2 container
//	     fd77::2             fd77::1
type world struct {
	t    *testing.T
	name string
	dir  string
}

var worlds struct {
	sync.Mutex
	n int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := newParallelWorld(t)
	// A lock of its own: the host's xtables lock is none of a test's business.
	t.Setenv("XTABLES_LOCKFILE", filepath.Join(w.dir, "xtables.lock"))
	return w
}

// newParallelWorld is newWorld for tests that run beside others: they wait for
// the one xtables lock.
func newParallelWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ip", "iptables-nft", "iptables-legacy", "nft", "ipset"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	worlds.Lock()
	worlds.n++
	w := &world{t: t, name: fmt.Sprintf("fw%d-%d", os.Getpid()%100000, worlds.n), dir: t.TempDir()}
	worlds.Unlock()
	host, peer, box := w.name, w.name+"p", w.name+"c"
	t.Cleanup(func() {
		for _, ns := range []string{host, peer, box} {
			exec.Command("ip", "netns", "del", ns).Run()
		}
	})
	for _, c := range []string{
		"netns add " + host, "netns add " + peer, "netns add " + box,
		"-n " + host + " link add wan type veth peer name wan netns " + peer,
		"-n " + host + " link add lan type veth peer name lan netns " + box,
		"-n " + host + " addr add 10.77.0.1/24 dev wan", "-n " + peer + " addr add 10.77.0.2/24 dev wan",
		"-n " + peer + " addr add 10.77.0.3/24 dev wan",
		"-n " + host + " addr add fd77::1/64 dev wan nodad", "-n " + peer + " addr add fd77::2/64 dev wan nodad",
		"-n " + host + " addr add 10.88.0.1/24 dev lan", "-n " + box + " addr add 10.88.0.2/24 dev lan",
		"-n " + host + " link set lo up", "-n " + peer + " link set lo up", "-n " + box + " link set lo up",
		"-n " + host + " link set wan up", "-n " + peer + " link set wan up", "-n " + host + " link set lan up", "-n " + box + " link set lan up",
		"-n " + peer + " route add 10.88.0.0/24 via 10.77.0.1", "-n " + box + " route add default via 10.88.0.1",
	} {
		w.must("ip", strings.Fields(c)...)
	}
	w.in("", func() { os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) })
	return w
}

// namespace is the file of a namespace of the world: "" the host, "p" the peer,
// "c" the container.
func (w *world) namespace(where string) string { return "/run/netns/" + w.name + where }

// in runs do in a namespace. Processes and sockets that do begins are there.
func (w *world) in(where string, do func()) {
	w.t.Helper()
	err := probe.In(w.namespace(where), func() error { do(); return nil })
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) must(name string, args ...string) string {
	w.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sh runs a script on the host of the world.
func (w *world) sh(script string) string {
	w.t.Helper()
	return w.must("ip", "netns", "exec", w.name, "sh", "-ec", script)
}

// tools is a folder of the host's tools in which iptables is a variant.
func (w *world) tools(variant string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, "tools-"+variant)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	link := func(name, to string) {
		path, err := exec.LookPath(to)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			w.t.Fatal(err)
		}
	}
	for _, base := range []string{"iptables", "ip6tables"} {
		for _, tail := range []string{"", "-save", "-restore"} {
			link(base+tail, base+"-"+variant+tail)
			link(base+"-nft"+tail, base+"-nft"+tail)
			link(base+"-legacy"+tail, base+"-legacy"+tail)
		}
	}
	link("nft", "nft")
	link("ipset", "ipset")
	return dir
}

// endpoint is a firewall on the host of a world.
type endpoint struct {
	*world
	fw     *firewall.Firewall
	events []event.Code
	disk   *durable.Disk
}

func (w *world) endpoint(variant string) *endpoint {
	e := &endpoint{world: w}
	e.fw = &firewall.Firewall{Dir: filepath.Join(w.dir, "firewall"), Path: []string{w.tools(variant)}, Emit: func(c event.Code, f map[string]string) {
		e.events = append(e.events, c)
	}}
	return e
}

func (e *endpoint) apply(want firewall.Want, o firewall.Options) (out firewall.Outcome, err error) {
	e.in("", func() { out, err = e.fw.Apply(context.Background(), want, o) })
	return out, err
}

func (e *endpoint) mustApply(want firewall.Want) firewall.Outcome {
	e.t.Helper()
	out, err := e.apply(want, firewall.Options{})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

func (e *endpoint) keep(want firewall.Want) (next time.Duration) {
	e.t.Helper()
	var err error
	e.in("", func() { next, err = e.fw.Keep(context.Background(), want) })
	if err != nil {
		e.t.Fatal(err)
	}
	return next
}

func (e *endpoint) state() firewall.State {
	e.t.Helper()
	st, err := e.fw.State()
	if err != nil {
		e.t.Fatal(err)
	}
	return st
}

func (e *endpoint) look() firewall.Shown {
	e.t.Helper()
	var s firewall.Shown
	var err error
	e.in("", func() { s, err = e.fw.Look(context.Background(), true, true) })
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// check asserts what must hold after every step: what is to stand does, exactly
// and in one place alone.
func (e *endpoint) check() firewall.Shown {
	e.t.Helper()
	s := e.look()
	if len(s.Diff) > 0 {
		e.t.Fatalf("it is not as it should be:\n%s", strings.Join(s.Diff, "\n"))
	}
	places := e.holders()
	switch {
	case s.Set == nil && len(places) > 0:
		e.t.Fatalf("nothing is to stand, and rules stand in %v", places)
	case s.Set != nil && (len(places) != 1 || places[0] != s.Set.Backend):
		e.t.Fatalf("it is to stand in %s, and rules stand in %v", s.Set.Backend, places)
	}
	return s
}

// holders are the backends in which anything of Freshet's stands.
func (e *endpoint) holders() []firewall.Backend {
	e.t.Helper()
	var all []firewall.Backend
	for _, b := range []struct {
		of     firewall.Backend
		script string
	}{
		{firewall.IPTablesNFT, "iptables-nft-save; ip6tables-nft-save"},
		{firewall.IPTablesLegacy, "iptables-legacy-save; ip6tables-legacy-save"},
	} {
		if strings.Contains(e.sh("{ "+b.script+"; } 2>/dev/null"), "FRESHET") {
			all = append(all, b.of)
		}
	}
	if strings.Contains(e.sh("nft list tables"), "inet freshet") {
		all = append(all, firewall.NFTables)
	}
	return all
}

// listen serves on the host: what arrives comes back.
func (w *world) listen(where, network, address string) {
	w.t.Helper()
	w.in(where, func() {
		if strings.HasPrefix(network, "udp") {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				w.t.Error(err)
				return
			}
			w.t.Cleanup(func() { c.Close() })
			go echoPackets(c)
			return
		}
		l, err := net.Listen(network, address)
		if err != nil {
			w.t.Error(err)
			return
		}
		w.t.Cleanup(func() { l.Close() })
		go probe.Echo(l)
	})
}

func echoPackets(c net.PacketConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		c.WriteTo(buf[:n], from)
	}
}

const patience = 300 * time.Millisecond

// reaches says whether something sent from a namespace comes back.
func (w *world) reaches(where, network, from, address string) bool {
	w.t.Helper()
	ok := false
	w.in(where, func() { ok = exchange(network, from, address) })
	return ok
}

func exchange(network, from, address string) bool {
	d := net.Dialer{Timeout: patience}
	if from != "" {
		a := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
		d.LocalAddr = a
		if strings.HasPrefix(network, "udp") {
			d.LocalAddr = &net.UDPAddr{IP: a.IP}
		}
	}
	c, err := d.Dial(network, address)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

var variants = []string{"nft", "legacy"}

// backends names a mechanism and variant each.
var backends = []struct {
	variant string
	by      firewall.Mechanism
}{{"nft", firewall.ByIPTables}, {"legacy", firewall.ByIPTables}, {"nft", firewall.ByNFTables}}

func wanted(p firewall.Policy) firewall.Want {
	return firewall.Want{Enabled: true, Policy: p, Mechanism: firewall.ByIPTables, Automatic: true}
}

// list writes a base of one file.
func (w *world) list(name, text string) firewall.ListFile {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return firewall.ListFile{Version: 1, Dir: dir}
}

// badTool is a folder in which a tool is a script; $REAL is the real one.
func (w *world) badTool(real, tool, script string) string {
	w.t.Helper()
	dir := w.t.TempDir()
	text := "#!/bin/sh\nREAL=" + filepath.Join(real, tool) + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, tool), []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
	// A variant is found by both of its names.
	plain := strings.TrimSuffix(tool, "-restore")
	if plain != tool {
		if err := os.Symlink(filepath.Join(real, plain), filepath.Join(dir, plain)); err != nil {
			w.t.Fatal(err)
		}
	}
	return dir
}

func lifeline(l firewall.Lifeline) func(context.Context) []firewall.Lifeline {
	return func(context.Context) []firewall.Lifeline { return []firewall.Lifeline{l} }
}
