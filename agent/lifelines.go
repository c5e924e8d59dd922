package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/settings"
)

// resolveTime bounds the look-up of the sources' addresses.
const resolveTime = 3 * time.Second

// lifelines are what a change of the firewall must not cut: sessions of
// operators, update sources, and the name servers that these need. session is
// SSH_CONNECTION of who asks, or "".
func lifelines(ctx context.Context, s *settings.Settings, session string) []firewall.Lifeline {
	all := firewall.Sessions()
	if l, ok := firewall.Session(session); ok {
		all = append(all, l)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	named := false
	for _, src := range s.Sources {
		if _, folder := src.Folder(); folder {
			continue
		}
		where := src.URL
		if strings.Contains(src.Proxy, "://") {
			where = src.Proxy
		}
		u, err := url.Parse(where)
		if err != nil {
			continue
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			named = true
		}
		all = append(all, sourceLines(ctx, u)...)
	}
	if named {
		all = append(all, nameServers("/etc/resolv.conf")...)
	}
	return all
}

// sourceLines are the ways to a source's addresses. A source whose addresses
// are not known now says nothing.
func sourceLines(ctx context.Context, u *url.URL) []firewall.Lifeline {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		port = map[string]uint64{"http": 80, "https": 443}[u.Scheme]
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil
	}
	var all []firewall.Lifeline
	for _, a := range addrs {
		if a = a.Unmap().WithZone(""); a.IsLoopback() {
			continue
		}
		all = append(all, firewall.Lifeline{
			What:   fmt.Sprintf("the source %s at %s port %d", u.Hostname(), a, port),
			Packet: firewall.Packet{Direction: firewall.Out, To: a, Protocol: firewall.TCP, FromPort: 50000, Port: uint16(port)},
		})
	}
	return all
}

// nameServers reads resolv.conf(5).
func nameServers(path string) []firewall.Lifeline {
	data, err := os.ReadFile(path)
	if err != nil || len(data) > 64<<10 {
		return nil
	}
	var all []firewall.Lifeline
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		a, err := netip.ParseAddr(f[1])
		if a = a.Unmap().WithZone(""); err != nil || a.IsLoopback() {
			continue
		}
		all = append(all, firewall.Lifeline{
			What:   fmt.Sprintf("the name server %s", a),
			Packet: firewall.Packet{Direction: firewall.Out, To: a, Protocol: firewall.UDP, FromPort: 50000, Port: 53},
		})
	}
	return all
}
