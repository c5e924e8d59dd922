package publish

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
)

const (
	lastVersions    = 24 // from as many versions before it a delta leads to a new version
	lastCheckpoints = 30 // and, if it is a checkpoint, from as many checkpoints
	inManifest      = 4  // as many deltas stand in the manifest itself
)

// history is the delta index as its publisher writes it: a bases.Index whose
// versions also name their full images, as long as the repository keeps them.
// From those the next deltas are made.
type history struct {
	Type     string       `json:"type"`
	Name     string       `json:"name"`
	Versions []version    `json:"versions"`
	Edges    []bases.Edge `json:"edges"`
}

type version struct {
	bases.IndexVersion
	Full *bases.Blob `json:"full,omitempty"`
}

func parseHistory(name string, data []byte) (history, error) {
	var h history
	if _, err := bases.ParseIndex(name, data); err != nil {
		return h, err
	}
	err := json.Unmarshal(data, &h)
	return h, err
}

// checkpoint says whether the version published at now is to be a checkpoint:
// the first one of a UTC day, or the 24th since the last checkpoint.
func (h history) checkpoint(before, now time.Time) bool {
	if len(h.Versions) == 0 || before.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		return true
	}
	since := 1
	for _, v := range slices.Backward(h.Versions) {
		if v.Checkpoint {
			break
		}
		since++
	}
	return since >= lastVersions
}

// sources gives the versions from which deltas lead to the next one, newest first.
func (h history) sources(checkpoint bool) []version {
	var from []version
	left := lastCheckpoints
	for i, v := range slices.Backward(h.Versions) {
		near := len(h.Versions)-i <= lastVersions
		far := checkpoint && v.Checkpoint && left > 0
		if v.Checkpoint {
			left--
		}
		if near || far {
			from = append(from, v)
		}
	}
	return from
}

// next is h with a new version and the deltas made to it. It drops what no
// agent needs any more: what remains are the edges to the newest version, to
// each of the last checkpoints from the 24 versions before it, and from each
// of them to the newest one.
func (h history) next(v version, made []bases.Edge) history {
	n := history{Type: "index", Name: h.Name}
	all := append(slices.Clone(h.Versions), v)
	rank := map[int64]int{}
	kept := map[int64]bool{} // checkpoints
	newest := int64(0)       // checkpoint
	for i, v := range slices.Backward(all) {
		rank[v.Version] = i
		if v.Checkpoint && len(kept) <= lastCheckpoints {
			kept[v.Version] = true
			newest = max(newest, v.Version)
		}
	}
	used := map[int64]bool{}
	for _, e := range append(slices.Clone(h.Edges), made...) {
		near := rank[e.To]-rank[e.From] <= lastVersions
		if e.To == v.Version || e.To == newest || kept[e.To] && near {
			n.Edges = append(n.Edges, e)
			used[e.From], used[e.To] = true, true
		}
	}
	for i, old := range all {
		image := i >= len(all)-1-lastVersions || kept[old.Version]
		if !image {
			old.Full = nil
		}
		if !kept[old.Version] {
			old.Checkpoint = false
		}
		if image || used[old.Version] {
			n.Versions = append(n.Versions, old)
		}
	}
	return n
}

// deltas gives those edges to the newest version that its manifest carries.
func (h history) deltas() []bases.Delta {
	if len(h.Versions) == 0 {
		return nil
	}
	to := h.Versions[len(h.Versions)-1].Version
	var ds []bases.Delta
	for _, v := range slices.Backward(h.Versions[max(0, len(h.Versions)-1-inManifest) : len(h.Versions)-1]) {
		for _, e := range h.Edges {
			if e.From == v.Version && e.To == to {
				ds = append(ds, bases.Delta{From: e.From, Blob: e.Blob})
			}
		}
	}
	return ds
}

// began is the history of a base of which only the manifest is known.
func began(m *bases.Manifest) history {
	return history{Type: "index", Name: m.Name, Versions: []version{{
		IndexVersion: bases.IndexVersion{Version: m.Version, Size: m.Image.Size, SHA256: m.Image.SHA256},
		Full:         &m.Full,
	}}}
}

// history reads the delta index that a manifest names.
func (r *Repository) history(m *bases.Manifest) (history, error) {
	if m == nil {
		return history{Type: "index"}, nil
	}
	if m.Index == nil {
		return history{}, fmt.Errorf("version %d of base %s names no delta index", m.Version, m.Name)
	}
	data, err := r.readBlob(*m.Index, bases.MaxIndex)
	if err != nil {
		return history{}, fmt.Errorf("delta index of base %s: %w", m.Name, err)
	}
	return parseHistory(m.Name, data)
}
