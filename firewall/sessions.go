package firewall

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxProc bounds what is read of a table of the kernel's, in bytes.
const (
	maxProc      = 16 << 20
	maxSSHConfig = 1 << 20 // bytes
)

// Session is a lifeline of an operator who came by SSH: ssh is what sshd puts
// into SSH_CONNECTION, "CLIENT PORT SERVER PORT". ok is false for any other text.
func Session(ssh string) (Lifeline, bool) {
	f := strings.Fields(ssh)
	if len(f) != 4 || len(ssh) > 256 {
		return Lifeline{}, false
	}
	from, err := netip.ParseAddr(f[0])
	to, err2 := netip.ParseAddr(f[2])
	port, err3 := strconv.ParseUint(f[3], 10, 16)
	if err != nil || err2 != nil || err3 != nil {
		return Lifeline{}, false
	}
	return session(from, to, uint16(port)), true
}

func session(from, to netip.Addr, port uint16) Lifeline {
	from, to = from.Unmap().WithZone(""), to.Unmap().WithZone("")
	return Lifeline{
		What: fmt.Sprintf("the session from %s to port %d", from, port),
		// The port of the client will be another one the next time.
		Packet: Packet{Direction: In, From: from, To: to, Protocol: TCP, FromPort: 60000, Port: port, Interface: interfaceOf(to)},
	}
}

// interfaceOf is the interface that has an address, "" if none has.
func interfaceOf(a netip.Addr) string {
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, have := range addrs {
			if p, err := netip.ParsePrefix(have.String()); err == nil && p.Addr().Unmap() == a {
				return i.Name
			}
		}
	}
	return ""
}

// Sessions finds the operators' sessions of this machine: the connections to
// the ports of sshd, those from where utmp says that somebody is logged in, and
// that of who will log in, where sshd listens.
func Sessions() []Lifeline {
	hosts, ports := utmpHosts("/run/utmp"), sshPorts("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf")
	var all []Lifeline
	var listen []netip.AddrPort
	for _, path := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		data, err := readUpTo(path, maxProc)
		if err != nil {
			continue
		}
		for _, c := range connections(data, listening) {
			listen = append(listen, c.near)
		}
		for _, c := range connections(data, established) {
			from := c.far.Addr().Unmap()
			if from.IsLoopback() || !slices.Contains(ports, c.near.Port()) && !slices.Contains(hosts, from) {
				continue
			}
			l := session(from, c.near.Addr(), c.near.Port())
			if !slices.ContainsFunc(all, func(o Lifeline) bool { return o.What == l.What }) {
				all = append(all, l)
			}
		}
	}
	if l, ok := wayIn(listen, ports); ok {
		all = append(all, l)
	}
	return all
}

// wayIn is that of who will log in, given what is listened at and the ports of
// sshd.
func wayIn(listen []netip.AddrPort, ports []uint16) (Lifeline, bool) {
	var doors []Packet
	var words []string
	for _, at := range listen {
		if at.Addr().IsLoopback() || !slices.Contains(ports, at.Port()) {
			continue
		}
		door := Packet{Direction: In, Protocol: TCP, FromPort: 60000, Port: at.Port()}
		if !at.Addr().IsUnspecified() {
			door.To = at.Addr()
			door.Interface = interfaceOf(door.To)
		}
		doors = append(doors, door)
		if word := strconv.Itoa(int(at.Port())); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	what := "everybody who would log in at port " + strings.Join(words, " or ") + ", where sshd listens"
	return Lifeline{What: what, Doors: doors}, len(doors) > 0
}

// sshPorts are 22 and those that sshd_config(5) names.
func sshPorts(patterns ...string) []uint16 {
	ports := []uint16{22}
	for _, pattern := range patterns {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := readUpTo(file, maxSSHConfig)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(data)) {
				f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t=\"\r\n", r) })
				if len(f) < 2 {
					continue
				}
				text := f[1]
				switch strings.ToLower(f[0]) {
				case "port":
				case "listenaddress":
					_, text, _ = strings.Cut(text[strings.LastIndexByte(text, ']')+1:], ":")
				default:
					continue
				}
				if p, err := ParsePorts(text); err == nil && p.First == p.Last {
					ports = append(ports, p.First)
				}
			}
		}
	}
	return ports
}

type connection struct{ near, far netip.AddrPort }

// States of a connection in the kernel's tables.
const (
	established = "01"
	listening   = "0A"
)

// connections reads those in a state from a table as proc(5) describes
// /proc/net/tcp.
func connections(data []byte, state string) []connection {
	var all []connection
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || f[3] != state {
			continue
		}
		near, ok := procAddr(f[1])
		far, ok2 := procAddr(f[2])
		if ok && ok2 {
			all = append(all, connection{near, far})
		}
	}
	return all
}

// procAddr reads an address as words of the machine's byte order.
func procAddr(s string) (netip.AddrPort, bool) {
	text, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(text)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

// utmpHosts are the addresses that users are logged in from, see utmp(5):
// records of 384 bytes, type at 0, address at 348.
func utmpHosts(path string) []netip.Addr {
	const size, user, addrAt = 384, 7, 348
	data, err := readUpTo(path, maxProc)
	if err != nil {
		return nil
	}
	var hosts []netip.Addr
	for ; len(data) >= size; data = data[size:] {
		raw := data[addrAt : addrAt+16]
		if binary.NativeEndian.Uint16(data) != user || bytes.Equal(raw, make([]byte, 16)) {
			continue
		}
		a, _ := netip.AddrFromSlice(raw)
		if bytes.Equal(raw[4:], make([]byte, 12)) {
			a, _ = netip.AddrFromSlice(raw[:4])
		}
		hosts = append(hosts, a.Unmap())
	}
	return hosts
}

func readUpTo(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}
