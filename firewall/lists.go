package firewall

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet/freshet/firewall/iplist"
)

// maxChained is how many addresses lists may have where the kernel has no sets.
const maxChained = 65536

// Addresses is the content of a list: networks in their order, none within
// another.
type Addresses []netip.Prefix

// addressesOf gives the networks of a list that was read.
func addressesOf(l iplist.List) Addresses { return outermost(l.Networks) }

// readKept reads what [Addresses.Text] wrote. It takes what any version kept, also
// where lists of the world are read more strictly now.
func readKept(data []byte) (Addresses, error) {
	var all []netip.Prefix
	for l := range bytes.Lines(data) {
		p, err := member(string(bytes.TrimSuffix(l, []byte("\n"))))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return outermost(all), nil
}

func order(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// outermost drops what lies within another network. It changes all.
func outermost(all []netip.Prefix) Addresses {
	slices.SortFunc(all, order)
	out := all[:0]
	for _, p := range all {
		if len(out) > 0 && out[len(out)-1].Contains(p.Addr()) {
			continue
		}
		out = append(out, p)
	}
	return Addresses(out)
}

// Of gives those of a family.
func (a Addresses) Of(fam Family) Addresses {
	first6, _ := slices.BinarySearchFunc(a, true, func(p netip.Prefix, _ bool) int {
		if p.Addr().Is4() {
			return -1
		}
		return 0
	})
	if fam == V4 {
		return a[:first6]
	}
	return a[first6:]
}

// Contains says whether the list blocks an address.
func (a Addresses) Contains(addr netip.Addr) bool { return a.find(addr) >= 0 }

func (a Addresses) find(addr netip.Addr) int {
	i, exact := slices.BinarySearchFunc(a, addr, func(p netip.Prefix, t netip.Addr) int { return p.Addr().Compare(t) })
	if exact {
		return i
	}
	if i > 0 && a[i-1].Contains(addr) {
		return i - 1
	}
	return -1
}

// Without leaves out what would block one of the addresses to protect, and says
// what that was.
func (a Addresses) Without(protect []netip.Addr) (rest Addresses, left []string) {
	rest = a
	for _, p := range protect {
		if i := rest.find(p); i >= 0 {
			left = append(left, rest[i].String())
			rest = slices.Delete(slices.Clone(rest), i, i+1)
		}
	}
	return rest, left
}

// Text is the list as it is kept: one network a line.
func (a Addresses) Text() []byte {
	var b bytes.Buffer
	for _, p := range a {
		b.WriteString(nftPrefix(p))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// sum names the list's content.
func (a Addresses) sum() string {
	sum := sha256.Sum256(a.Text())
	return hex.EncodeToString(sum[:])
}

// setName is the kernel's set of a list. It names the content: a set is built
// under another name, and never changed once it has this one. At most 31 bytes.
func setName(sum string, fam Family) string {
	return chainMark + sum[:12] + "-" + strconv.Itoa(int(fam))
}

// bucketed are the lines that stand for a list where the kernel has no sets. A
// long list goes into chains by the first byte of the address, so that a packet
// is held against a small part of it.
func bucketed(entries []line, entry line, list int, log bool) (top, buckets []line) {
	const few = 64
	bucket := ""
	for _, e := range entries {
		l := entry
		l.from, l.to = e.from, e.to
		if entry.outgoing {
			l.from, l.to = e.to, e.from
		}
		if len(entries) <= few {
			top = append(top, logged(l, log)...)
			continue
		}
		first := firstByte(e.from)
		// Of the form B0.10-IN: in the limit of names of chains.
		name := fmt.Sprintf("b%d.%d-%s", list, first, strings.TrimPrefix(entry.chain, "block-"))
		if name != bucket {
			bucket = name
			jump := entry
			jump.does, jump.jump = toChain, bucket
			net := byteNet(e.from, first)
			jump.from = net
			if entry.outgoing {
				jump.from, jump.to = netip.Prefix{}, net
			}
			top = append(top, jump)
		}
		l.chain = bucket
		buckets = append(buckets, logged(l, log)...)
	}
	return top, buckets
}

func firstByte(p netip.Prefix) byte { return p.Addr().AsSlice()[0] }

func byteNet(p netip.Prefix, first byte) netip.Prefix {
	b := make([]byte, p.Addr().BitLen()/8)
	b[0] = first
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, 8)
}

// linesOf are the entries of a list that has no set.
func linesOf(a Addresses) []line {
	all := make([]line, len(a))
	for i, p := range a {
		all[i].from = p
	}
	return all
}

// ipsetText builds a list under a name, for ipset restore.
func ipsetText(name string, fam Family, a Addresses) string {
	inet := "inet"
	if fam == V6 {
		inet = "inet6"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "create %s hash:net family %s hashsize %d maxelem %d\n", name, inet, hashSize(len(a)), max(len(a), 65536))
	for _, p := range a {
		b.WriteString("add " + name + " " + nftPrefix(p) + "\n")
	}
	return b.String()
}

// hashSize is a power of two: a set that need not grow is filled at once.
func hashSize(n int) int {
	size := 1024
	for size < n/2 {
		size *= 2
	}
	return size
}
