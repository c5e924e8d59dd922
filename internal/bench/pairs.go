package main

// firstToLast stands among the distances for the pair of first and last version.
const firstToLast = 0

// pair is an old and a new version, by index.
type pair struct{ From, To int }

// choose gives the pairs to measure among n versions: of neighbours the first,
// middle and last, of another distance the first and last, or with all every one.
func choose(n int, distances []int, all bool) []pair {
	var list []pair
	seen := map[pair]bool{}
	add := func(p pair) {
		if p.From >= 0 && p.To < n && p.From < p.To && !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	for _, d := range distances {
		switch {
		case d == firstToLast:
			add(pair{0, n - 1})
		case all:
			for i := range n {
				add(pair{i, i + d})
			}
		default:
			add(pair{0, d})
			if d == 1 {
				add(pair{(n - 1) / 2, (n-1)/2 + 1})
			}
			add(pair{n - 1 - d, n - 1})
		}
	}
	return list
}

// chosenForSlow says whether tools of minutes run on a pair of large images:
// the first of neighbours, and first→last.
func chosenForSlow(p pair, n int) bool {
	return p == pair{0, 1} || p == pair{0, n - 1}
}
