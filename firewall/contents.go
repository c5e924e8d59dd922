package firewall

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Sets are held against the kernel by their content. To read back a long one
// takes time, so that between two looks at the same set pass restTimes as long
// as the first took: it costs a hundredth of a processor at most.
const restTimes = 100

// looked is what the last look at the content of a set found.
type looked struct {
	at, took time.Duration // on the clock without sleep: a machine that slept meanwhile was not slow
	count    int
	diff     string
}

// contentDiffers says in what way a set of so many entries holds something else
// than it should; "": in none. Where it was looked at a short while ago, and
// not fresh is asked for, that is what was found then.
func (f *Firewall) contentDiffers(name string, count int, fresh bool, compare func() (string, error)) (string, error) {
	f.looks.Lock()
	last, ok := f.looked[name]
	f.looks.Unlock()
	began := f.Clock.Awake()
	if ok && !fresh && last.count == count && began-last.at < restTimes*last.took {
		return last.diff, nil
	}
	diff, err := compare()
	if err != nil {
		return "", err
	}
	now := f.Clock.Awake()
	f.looks.Lock()
	defer f.looks.Unlock()
	if f.looked == nil {
		f.looked = map[string]looked{}
	}
	f.looked[name] = looked{now, now - began, count, diff}
	return diff, nil
}

// forget has the content of a set looked at anew; "": of all.
func (f *Firewall) forget(name string) {
	f.looks.Lock()
	defer f.looks.Unlock()
	if name == "" {
		clear(f.looked)
	}
	delete(f.looked, name)
}

// sum is the same for the same entries in whatever order. Who does not know the
// seed finds no other entries with that sum.
type sum struct {
	seed  maphash.Seed
	total uint64
	count int
}

func (s *sum) add(p netip.Prefix) {
	var b [18]byte
	a := p.Addr().As16()
	copy(b[:], a[:])
	b[16] = byte(p.Bits())
	if p.Addr().Is4() {
		b[17] = 4
	}
	s.total += maphash.Bytes(s.seed, b[:])
	s.count++
}

// ipsetDiffers reads a set of ipset's, without holding it in memory.
func (f *Firewall) ipsetDiffers(ctx context.Context, s kernelSet) (string, error) {
	want := sum{seed: maphash.MakeSeed()}
	for _, p := range s.all {
		want.add(p)
	}
	have := sum{seed: want.seed}
	if err := f.members(ctx, s.name, have.add); err != nil {
		return "", err
	}
	if have == want {
		return "", nil
	}
	var all Addresses
	if err := f.members(ctx, s.name, func(p netip.Prefix) { all = append(all, p) }); err != nil {
		return "", err
	}
	slices.SortFunc(all, order)
	missing, extra := apart(s.all, all, order)
	return "~ set " + s.name + ": " + apartWords(missing, extra), nil
}

// members gives the entries of a set of ipset's, in no order. One that is more
// than an address or a network is given as none.
func (f *Firewall) members(ctx context.Context, name string, each func(netip.Prefix)) error {
	prefix := []byte("add " + name + " ")
	lines := &lineWriter{each: func(line []byte) {
		text, ok := bytes.CutPrefix(line, prefix)
		if !ok {
			return
		}
		p, _ := member(string(bytes.TrimSpace(text))) // none is in nobody's list
		each(p)
	}}
	return f.pipe(ctx, "", lines, f.tool("ipset"), "save", name)
}

// member reads an address or a network as the tools write it.
func member(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen()), err
}

// apart gives what of two sorted lists is in the first alone, and in the second
// alone.
func apart[T any](a, b []T, order func(T, T) int) (first, second []T) {
	for len(a) > 0 && len(b) > 0 {
		switch c := order(a[0], b[0]); {
		case c < 0:
			first, a = append(first, a[0]), a[1:]
		case c > 0:
			second, b = append(second, b[0]), b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return append(first, a...), append(second, b...)
}

func apartWords[T fmt.Stringer](missing, extra []T) string {
	var all []string
	for _, part := range []struct {
		what string
		of   []T
	}{{"missing", missing}, {"too much", extra}} {
		if len(part.of) == 0 {
			continue
		}
		const most = 3
		var named []string
		for _, v := range part.of[:min(most, len(part.of))] {
			named = append(named, v.String())
		}
		text := fmt.Sprintf("%d %s: %s", len(part.of), part.what, strings.Join(named, ", "))
		if len(part.of) > most {
			text += ", …"
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return "entries stand more than once" // no set of the kernel's does that
	}
	return strings.Join(all, "; ")
}

// span is all addresses from one to another.
type span struct{ from, to netip.Addr }

func (s span) String() string {
	if s.from == s.to {
		return s.from.String()
	}
	return s.from.String() + "-" + s.to.String()
}

func spanOrder(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) }

// spansOf are the addresses of a list, neighbours in one.
func spansOf(all Addresses) []span {
	out := make([]span, 0, len(all))
	for _, p := range all {
		out = append(out, span{p.Addr(), lastOf(p)})
	}
	return joinedSpans(out)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// joinedSpans sorts spans and joins neighbours. It changes all.
func joinedSpans(all []span) []span {
	slices.SortFunc(all, spanOrder)
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && (s.from.Compare(out[n-1].to) <= 0 || out[n-1].to.Next() == s.from) {
			if s.to.Compare(out[n-1].to) > 0 {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// nftSetDiffers reads a set of the table. nft joins neighbours and parts them as
// it likes, so that what is compared is which addresses are covered.
func (w *nftWay) nftSetDiffers(ctx context.Context, s nftSet) (string, error) {
	out, err := w.f.run(ctx, "", w.nft, "list", "set", "inet", "freshet", s.name)
	if err != nil {
		return "", fmt.Errorf("reading the set %s: %w", s.name, err)
	}
	if d := spansDiffer(s.elements, out); d != "" {
		return "~ set " + s.name + ": " + d, nil
	}
	return "", nil
}

func spansDiffer(want Addresses, printed string) string {
	have, err := nftSpans(printed)
	if err != nil {
		return err.Error()
	}
	missing, extra := apart(spansOf(want), have, spanOrder)
	if len(missing)+len(extra) == 0 {
		return ""
	}
	return apartWords(missing, extra)
}

// nftSpans reads the elements of nft list set.
func nftSpans(text string) ([]span, error) {
	_, text, ok := strings.Cut(text, "elements = {")
	if !ok {
		return nil, nil
	}
	text, _, _ = strings.Cut(text, "}")
	var all []span
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		first, last, ranged := strings.Cut(word, "-")
		p, err := member(first)
		if err != nil {
			return nil, fmt.Errorf("the entry %.64q is no address and no network", word)
		}
		s := span{p.Addr(), lastOf(p)}
		if ranged {
			if s.to, err = netip.ParseAddr(last); err != nil {
				return nil, fmt.Errorf("the entry %.64q is no range", word)
			}
		}
		all = append(all, s)
	}
	return joinedSpans(all), nil
}

// lineWriter gives each line of what is written to it. Lines are no longer than
// maxComplaint; the rest of a longer one is dropped.
type lineWriter struct {
	each func([]byte)
	part []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if !whole {
			w.part = append(w.part, p[:min(len(p), maxComplaint-len(w.part))]...)
			return n, nil
		}
		if len(w.part) > 0 {
			line = append(w.part, line[:min(len(line), maxComplaint-len(w.part))]...)
		}
		w.each(line)
		w.part, p = w.part[:0], rest
	}
}
