package main

import (
	"cmp"
	"math"
	"slices"
)

// geomean is the geometric mean; NaN of nothing.
func geomean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(values)))
}

// median is the middle of the values, of an even number the upper of the two;
// zero of nothing.
func median[T cmp.Ordered](values []T) T {
	var none T
	if len(values) == 0 {
		return none
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// hashListBound is the entropy, in bytes, of the change from a sorted list of
// n random hashes of bits bits to one with removed of them gone and added new
// ones: log2 C(n, removed) for which are gone, and added·bits - log2 added! for
// the new ones, whose order says nothing.
func hashListBound(n, removed, added, bits int) float64 {
	gone := logFactorial(n) - logFactorial(removed) - logFactorial(n-removed)
	return (gone + float64(added*bits) - logFactorial(added)) / 8
}

// logFactorial is log2 n!.
func logFactorial(n int) float64 {
	v, _ := math.Lgamma(float64(n) + 1)
	return v / math.Ln2
}
