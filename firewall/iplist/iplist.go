// Package iplist reads block lists as they are found in the world: an address or
// a network a line. Agents and publishers read lists with the same code, so that
// a publisher hears of a line before its endpoints leave it out.
//
//	bytes ─► Read ─► List ─► Refused: too much of it is no list
//	                  │
//	                  ├─ Networks: what is to be blocked
//	                  └─ Bad: lines that are left out, by number and reason
package iplist

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// Bounds of a list.
const (
	MaxBytes   = 64 << 20
	MaxEntries = 2 << 20
	widest4    = 8 // the widest network that a list may block
	widest6    = 16
	maxLine    = 1024 // bytes of a line that are looked at; only a comment is longer
	shown      = 48   // bytes of a bad line that are kept for people
)

// How much of a list may be bad before all of it is refused. Lists of the world
// have a line or two that were cut short or ran together; where more than one line
// in a hundred is bad it is another file, or another format, and what seems to be
// good in it is chance. Under leastBad no share is meant: one of twenty is no sign.
const (
	maxBadShare = 100 // one line in so many
	leastBad    = 10
	maxKept     = 20 // bad lines that are kept, of however many
)

// Reason says why a line is left out.
type Reason string

// Reasons.
const (
	NoAddress Reason = "no address and no network"
	Zeros     Reason = "leading zeros, which some read as octal"
	Several   Reason = "more than one address in a line"
	TooWide   Reason = "too wide for a block list"
	Special   Reason = "no host of the Internet or of a network has it"
	Backwards Reason = "a range that ends before it begins, or in another family"
	TooLong   Reason = "longer than any address"
)

// Bad is a line that was left out.
type Bad struct {
	Line   int
	Text   string // its beginning
	Reason Reason
}

func (b Bad) String() string { return fmt.Sprintf("line %d: %q: %s", b.Line, b.Text, b.Reason) }

// List is what was read. Its networks are in the order of the list, and bits
// beyond a network are cut off, as others' lists have them.
type List struct {
	Networks []netip.Prefix
	Lines    int   // that say something
	Left     int   // of these, bad ones
	Bad      []Bad // the first of them
}

// Refused is why none of a list is to be used; nil where what is good of it is.
func (l List) Refused() error {
	good := l.Lines - l.Left
	if l.Left <= good && l.Left <= max(leastBad, l.Lines/maxBadShare) {
		return nil
	}
	return fmt.Errorf("%d of %d lines are bad: %s", l.Left, l.Lines, l.Words())
}

// Words names the lines that are left out, the first few; "" where none is.
func (l List) Words() string {
	const most = 3
	var all []string
	for _, b := range l.Bad[:min(most, len(l.Bad))] {
		all = append(all, b.String())
	}
	text := strings.Join(all, "; ")
	if more := l.Left - len(all); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// Read reads an ip-list. Empty lines, and what follows #, ; or //, are passed over;
// so are a byte order mark, line ends of any kind, and counts behind an address.
// Ranges and addresses of IPv4 that are written as of IPv6 are understood. Any
// other line is bad, and left out. An error is that of r, or of a list that is
// beyond all bounds.
func Read(r io.Reader) (List, error) {
	var l List
	in := &io.LimitedReader{R: r, N: MaxBytes + 1}
	lines := lineReader{bufio.NewReader(in)}
	for n := 1; ; n++ {
		text, long, err := lines.next()
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if err != nil && err != io.EOF {
			return l, err
		}
		l.line(n, text, long)
		if len(l.Networks) > MaxEntries {
			return l, fmt.Errorf("more than %d addresses", MaxEntries)
		}
		if err == io.EOF {
			break
		}
	}
	if in.N <= 0 {
		return l, fmt.Errorf("more than %d bytes", MaxBytes)
	}
	return l, nil
}

func (l *List) line(n int, text []byte, long bool) {
	text, commented := uncommented(text)
	if text = bytes.TrimSpace(text); len(text) == 0 && (!long || commented) {
		return
	}
	l.Lines++
	networks, reason := []netip.Prefix(nil), TooLong
	if !long || commented {
		networks, reason = entry(string(text))
	}
	if reason == "" {
		l.Networks = append(l.Networks, networks...)
		return
	}
	if l.Left++; len(l.Bad) < maxKept {
		l.Bad = append(l.Bad, Bad{n, strings.ToValidUTF8(string(text[:min(len(text), shown)]), "?"), reason})
	}
}

func uncommented(text []byte) (rest []byte, commented bool) {
	i := bytes.IndexAny(text, "#;")
	if j := bytes.Index(text, []byte("//")); j >= 0 && (i < 0 || j < i) {
		i = j
	}
	if i < 0 {
		return text, false
	}
	return text[:i], true
}

// entry reads what a line says, without its comment.
func entry(s string) ([]netip.Prefix, Reason) {
	words := strings.Fields(s)
	if len(words) >= 3 && words[1] == "-" { // a range with spaces in it
		words = append([]string{words[0] + "-" + words[2]}, words[3:]...)
	}
	for _, w := range words[1:] {
		if _, reason := network(w); reason == "" || strings.Count(w, ".") == 3 {
			return nil, Several
		}
		if !isCount(w) {
			return nil, NoAddress
		}
	}
	if first, last, ranged := strings.Cut(words[0], "-"); ranged {
		return span(first, last)
	}
	p, reason := network(words[0])
	if reason == "" {
		reason = judge(p)
	}
	return []netip.Prefix{p}, reason
}

// isCount says whether a word behind an address is a number, as lists have it that
// say how often an address was seen.
func isCount(w string) bool { return strings.Trim(w, "0123456789") == "" }

// network reads an address or a network.
func network(s string) (netip.Prefix, Reason) {
	addr, bits, ok := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		if zeros(addr) {
			return netip.Prefix{}, Zeros
		}
		return netip.Prefix{}, NoAddress
	}
	a = a.WithZone("")
	p := netip.PrefixFrom(a, a.BitLen())
	if ok {
		if p, err = netip.ParsePrefix(a.String() + "/" + bits); err != nil {
			return p, NoAddress
		}
	}
	if a.Is4In6() {
		if p.Bits() < 96 {
			return p, TooWide
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), ""
}

// zeros says whether s would be an address of IPv4 without zeros that lead its
// numbers: 010 is eight to some, and ten to others.
func zeros(s string) bool {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		if parts[i] = strings.TrimLeft(p, "0"); parts[i] == "" {
			parts[i] = "0"
		}
	}
	_, err := netip.ParseAddr(strings.Join(parts, "."))
	return err == nil
}

// span gives the networks that are exactly the addresses from one to another.
func span(first, last string) ([]netip.Prefix, Reason) {
	from, reason := network(first)
	to, reason2 := network(last)
	switch {
	case reason != "":
		return nil, reason
	case reason2 != "":
		return nil, reason2
	case !from.IsSingleIP() || !to.IsSingleIP():
		return nil, NoAddress
	case from.Addr().BitLen() != to.Addr().BitLen() || to.Addr().Less(from.Addr()):
		return nil, Backwards
	}
	var all []netip.Prefix
	for at := from.Addr(); at.IsValid() && !to.Addr().Less(at); {
		p := netip.PrefixFrom(at, at.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(at, p.Bits()-1)
			if wider.Masked().Addr() != at || to.Addr().Less(lastOf(wider)) {
				break
			}
			p = wider
		}
		if reason := judge(p); reason != "" {
			return nil, reason
		}
		all = append(all, p)
		at = lastOf(p).Next() // beyond the last of all it is none
	}
	return all, ""
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// special are networks from which nobody attacks, and without which a host has no
// neighbours: to block them, as a list of all that is not routed does, only harms.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

func judge(p netip.Prefix) Reason {
	widest := widest6
	if p.Addr().Is4() {
		widest = widest4
	}
	for _, s := range special {
		if s.Bits() <= p.Bits() && s.Contains(p.Addr()) {
			return Special
		}
	}
	if p.Bits() < widest {
		return TooWide
	}
	return ""
}

// lineReader gives lines of any length, of each the first maxLine bytes.
type lineReader struct{ in *bufio.Reader }

// next gives a line without its end; it holds until the next call. long says that
// it was longer. With io.EOF it is the last one, which may be empty.
func (r lineReader) next() (line []byte, long bool, err error) {
	part, err := r.in.ReadSlice('\n')
	if len(part) <= maxLine+2 && err == nil {
		return bytes.TrimRight(part, "\r\n"), false, nil
	}
	kept := bytes.Clone(part[:min(len(part), maxLine)])
	long = len(part) > maxLine
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = r.in.ReadSlice('\n')
	}
	return bytes.TrimRight(kept, "\r\n"), long, err
}
