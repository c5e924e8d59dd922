package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// Backend is a way into the kernel.
type Backend string

// Backends: either variant of iptables, or a table of nft's.
const (
	IPTablesNFT    Backend = "iptables-nft"
	IPTablesLegacy Backend = "iptables-legacy"
	NFTables       Backend = "nftables"
)

// Mechanism is what a generation names: which tools hold the rules.
type Mechanism string

// Mechanisms. A fresh install uses iptables; nftables is that of the major line
// before.
const (
	ByIPTables Mechanism = "iptables"
	ByNFTables Mechanism = "nftables"
)

// ParseMechanism reads a generation's word; "" is the default.
func ParseMechanism(s string) (Mechanism, error) {
	switch Mechanism(s) {
	case "":
		return ByIPTables, nil
	case ByIPTables, ByNFTables:
		return Mechanism(s), nil
	}
	return "", fmt.Errorf("%.32q is no mechanism: iptables or nftables", s)
}

// way is a backend at work.
type way interface {
	// differs gives a difference, a line each, between what is to stand and
	// what does; none: it stands exactly. The content of sets is looked at anew
	// if fresh, else see restTimes.
	differs(ctx context.Context, b build, fresh bool) ([]string, error)
	// install puts what is to stand in place of what does: a transaction a
	// family. After an error each family has the old rules or the new ones.
	install(context.Context, build) error
	// remove takes away all that is Freshet's. Nothing there is no error.
	remove(context.Context) error
}

// build is a set with all that it takes to stand.
type build struct {
	set Set
	mat Material
}

// tools are those of a family and variant.
type tools struct {
	fam     Family
	path    string // of iptables
	restore string
	ipt     *iptables.IPTables
}

// ErrUnavailable says that this host cannot have a firewall of Freshet's.
var ErrUnavailable = errors.New("no firewall here")

// lockSeconds is how long a tool waits for the xtables lock.
const lockSeconds = 5

func (f *Firewall) waits() int {
	if f.Wait > 0 {
		return f.Wait
	}
	return lockSeconds
}

// toolsOf finds the tools of a variant, none if they are not there. Where a
// host has no names for variants its iptables is the one that it says it is.
func (f *Firewall) toolsOf(b Backend, fam Family) (tools, bool) {
	short := map[Family]string{V4: "iptables", V6: "ip6tables"}[fam]
	variant := strings.TrimPrefix(string(b), "iptables-")
	t := tools{fam: fam, path: f.tool(short + "-" + variant), restore: f.tool(short + "-" + variant + "-restore")}
	if t.path == "" || t.restore == "" {
		if plain := f.tool(short); plain == "" || f.variantOf(plain) != b {
			return t, false
		}
		t.path, t.restore = f.tool(short), f.tool(short+"-restore")
	}
	return t, t.restore != ""
}

// variantOf asks iptables what it is; releases before 1.8 say nothing.
func (f *Firewall) variantOf(path string) Backend {
	out, err := f.run(context.Background(), "", path, "--version")
	if err == nil && strings.Contains(out, "nf_tables") {
		return IPTablesNFT
	}
	return IPTablesLegacy
}

// Families of this host: IPv6 may be switched off.
func hostFamilies() []Family {
	if _, err := os.Stat("/proc/thread-self/net/if_inet6"); err != nil {
		return []Family{V4}
	}
	return Families()
}

// Host is which variants of iptables hold rules of others.
type Host struct {
	Backend Backend `json:"backend"` // the one to use
	Why     string  `json:"why"`
	Both    bool    `json:"both,omitempty"` // both hold rules
}

// detect finds the variant that this host uses. Nothing is changed by it, and
// no module of the kernel loaded: the legacy tables are read only where there
// are any.
func (f *Firewall) detect(ctx context.Context) (Host, error) {
	_, nft := f.toolsOf(IPTablesNFT, V4)
	_, legacy := f.toolsOf(IPTablesLegacy, V4)
	if !nft && !legacy {
		return Host{}, fmt.Errorf("%w: iptables is not installed", ErrUnavailable)
	}
	n, err := f.foreign(ctx, IPTablesNFT)
	if err != nil {
		return Host{}, err
	}
	l, err := f.foreign(ctx, IPTablesLegacy)
	if err != nil {
		return Host{}, err
	}
	usual := IPTablesNFT
	if plain := f.tool("iptables"); !nft || plain != "" && legacy && f.variantOf(plain) == IPTablesLegacy {
		usual = IPTablesLegacy
	}
	switch {
	case n && l:
		return Host{usual, "rules of others stand in both variants; this is the one that the command iptables is", true}, nil
	case l && legacy:
		return Host{IPTablesLegacy, "rules of others stand in it", false}, nil
	case n && nft:
		return Host{IPTablesNFT, "rules of others stand in it", false}, nil
	}
	return Host{usual, "it is what the command iptables is here", false}, nil
}

// foreign says whether a variant holds rules that are not Freshet's.
func (f *Firewall) foreign(ctx context.Context, b Backend) (bool, error) {
	for _, fam := range hostFamilies() {
		t, ok := f.toolsOf(b, fam)
		if !ok {
			continue
		}
		all := []string{"filter", "nat", "mangle", "raw", "security"}
		if b == IPTablesLegacy {
			all = legacyTables(fam)
		}
		save := strings.TrimSuffix(t.restore, "restore") + "save"
		for _, table := range all {
			out, err := f.run(ctx, "", save, "-t", table)
			if err != nil {
				continue // a table that this kernel lacks
			}
			for l := range strings.Lines(out) {
				if strings.HasPrefix(l, "-A ") && !strings.HasPrefix(l, "-A "+chainMark) && !leadsToUs(strings.TrimSpace(l)) {
					return true, nil
				}
			}
		}
	}
	return false, ctx.Err()
}

// legacyTables are those in use, as the kernel says without making any.
func legacyTables(fam Family) []string {
	name := map[Family]string{V4: "ip_tables_names", V6: "ip6_tables_names"}[fam]
	data, err := readUpTo(filepath.Join("/proc/thread-self/net", name), maxProc)
	if err != nil {
		return nil
	}
	return strings.Fields(string(data))
}

// way gives a backend at work, for the families of this host.
func (f *Firewall) way(b Backend) (way, error) {
	if b == NFTables {
		path := f.tool("nft")
		if path == "" {
			return nil, fmt.Errorf("%w: nft is not installed", ErrUnavailable)
		}
		return &nftWay{f: f, nft: path}, nil
	}
	w := &xtWay{f: f}
	for _, fam := range hostFamilies() {
		t, ok := f.toolsOf(b, fam)
		if !ok {
			return nil, fmt.Errorf("%w: %s for %s is not installed", ErrUnavailable, b, fam)
		}
		proto := iptables.ProtocolIPv4
		if fam == V6 {
			proto = iptables.ProtocolIPv6
		}
		ipt, err := iptables.New(iptables.IPFamily(proto), iptables.Path(t.path), iptables.Timeout(f.waits()))
		if err != nil {
			return nil, fmt.Errorf("asking %s: %w", t.path, err)
		}
		t.ipt = ipt
		w.tools = append(w.tools, t)
	}
	return w, nil
}
