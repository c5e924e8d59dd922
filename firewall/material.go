package firewall

import (
	"maps"
	"slices"
)

// materialOf gives what the lists, by base, come to: sets of the kernel, or
// lines.
func materialOf(lists map[string]Addresses, sets bool) Material {
	m := Material{Sets: map[Family]map[string]string{}, Blocks: map[Family]map[string][]line{}, lists: lists}
	for _, fam := range Families() {
		m.Sets[fam], m.Blocks[fam] = map[string]string{}, map[string][]line{}
		for base, a := range lists {
			switch own := a.Of(fam); {
			case sets:
				m.Sets[fam][base] = setName(a.sum(), fam)
			default:
				m.Blocks[fam][base] = linesOf(own)
			}
		}
	}
	return m
}

// kernelSet is a set as it is to stand in the kernel.
type kernelSet struct {
	name string
	fam  Family
	all  Addresses
}

// sets lists those of the material, each once.
func (m Material) sets() []kernelSet {
	var all []kernelSet
	for _, fam := range Families() {
		for _, base := range slices.Sorted(maps.Keys(m.Sets[fam])) {
			s := kernelSet{m.Sets[fam][base], fam, m.lists[base].Of(fam)}
			if !slices.ContainsFunc(all, func(o kernelSet) bool { return o.name == s.name }) {
				all = append(all, s)
			}
		}
	}
	return all
}

func (m Material) nftSets() []nftSet {
	var all []nftSet
	for _, s := range m.sets() {
		all = append(all, nftSet{s.name, s.fam, s.all})
	}
	return all
}
