package publish

import (
	"time"

	"github.com/freshet/freshet/bases"
)

// Planned is the delta index after each of the versions published at times,
// without any content.
func Planned(times []time.Time) []bases.Index {
	h := history{Type: "index", Name: "plan"}
	var before time.Time
	var all []bases.Index
	for i, at := range times {
		v := version{IndexVersion: bases.IndexVersion{Version: int64(i + 1), Size: 1, Checkpoint: h.checkpoint(before, at)}, Full: &bases.Blob{Size: 1}}
		var made []bases.Edge
		for _, from := range h.sources(v.Checkpoint) {
			if from.Full == nil {
				panic("a delta is to be made from an image that is not kept")
			}
			made = append(made, bases.Edge{From: from.Version, To: v.Version, Blob: bases.Blob{Size: 1}})
		}
		h, before = h.next(v, made), at
		x := bases.Index{Edges: h.Edges}
		for _, v := range h.Versions {
			x.Versions = append(x.Versions, v.IndexVersion)
		}
		all = append(all, x)
	}
	return all
}
