package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The sample base.
const (
	base    = "sample-domains"
	records = 120_000
)

// list is a sorted list of made-up domains of malware.
type list struct {
	names []string
	rand  *rand.Rand
}

func newList(n int) list {
	l := list{rand: rand.New(rand.NewPCG(1, 2))} // the same in each run
	return l.change(0, n)
}

// change takes some names out and puts others in, as an hour does to a real list.
func (l list) change(gone, came int) list {
	names := slices.Clone(l.names)
	for range gone {
		i := l.rand.IntN(len(names))
		names = slices.Delete(names, i, i+1)
	}
	for range came {
		names = append(names, l.name())
	}
	slices.Sort(names)
	return list{names: slices.Compact(names), rand: l.rand}
}

func (l list) name() string {
	const syllables = "ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu ra re ri ro ru sa se si so su ta te ti to tu"
	all := strings.Fields(syllables)
	var b strings.Builder
	for range 3 + l.rand.IntN(3) {
		b.WriteString(all[l.rand.IntN(len(all))])
	}
	return fmt.Sprintf("%s%d.example", b.String(), l.rand.IntN(1000))
}

func (l list) String() string { return strings.Join(l.names, "\n") + "\n" }
