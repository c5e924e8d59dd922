package publish

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
)

// Plan is what stands in a repository after a version, without any content.
type Plan struct {
	Manifest []bases.Delta
	Index    bases.Index
	Far      []bases.FarIndex // those that the index names
	Bytes    int              // of the index
	FarBytes []int
	Images   []int // for each image that is kept, how many blobs it is built from
}

// Planned gives the plan after each of the versions published at times.
// Images have 8 digits of bytes, their full ones 7, deltas 5.
func Planned(times []time.Time) []Plan {
	var h history
	var before time.Time
	var all []Plan
	far := map[int64]bases.FarIndex{}
	for i, at := range times {
		v := image{IndexVersion: bases.IndexVersion{Version: int64(i + 1), Size: 12345678, SHA256: sum("image", i)}, Full: blob(1234567, "full", i)}
		cp := h.checkpoint(before, at)
		var made []bases.Delta
		for _, from := range h.sources() {
			made = append(made, bases.Delta{From: from.Version, Blob: blob(12345, "delta", int(from.Version), i)})
		}
		name := func(x bases.FarIndex) *bases.Blob {
			far[x.Version] = x
			return &bases.Blob{Size: int64(len(text(x))), SHA256: sha256.Sum256(text(x))}
		}
		cps, start := h.checkpoints, slices.IndexFunc(h.images, func(v image) bool { return v.Base == 0 })
		if cp {
			var b *bases.Blob
			if x := h.farIndex("list", v, made); x != nil {
				b = name(*x)
			}
			cps = h.become(v, b, made, func(c bases.Checkpoint, on bases.On) *bases.Blob {
				x := far[c.Version]
				x.On = &on
				return name(x)
			})
		}
		if cp && start >= 0 {
			h.images = slices.Clone(h.images)
			h.images[start].Full, h.images[start].Base = blob(1234, "back", i), v.Version
		}
		if !cp {
			d, _ := leads(made, h.images[start].Version)
			v.Full, v.Base = d.Blob, d.From
		}
		h, before = h.next(v, cps, made), at
		x := h.index("list", blob(12345, "images", i))
		p := Plan{Manifest: h.nearest(), Index: *x, Bytes: len(text(x))}
		for _, v := range h.images {
			p.Images = append(p.Images, len(chain(h.images, v)))
		}
		for _, c := range x.Checkpoints {
			if c.Far != nil {
				p.Far = append(p.Far, far[c.Version])
				p.FarBytes = append(p.FarBytes, int(c.Far.Size))
			}
		}
		all = append(all, p)
	}
	return all
}

func blob(size int64, what ...any) bases.Blob { return bases.Blob{Size: size, SHA256: sum(what...)} }

func sum(what ...any) bases.Hash { return sha256.Sum256([]byte(fmt.Sprint(what...))) }

func text(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// NoModes and Remount are what is said of keys on a FAT.
var (
	NoModes = noModes
	Remount = remount
)
