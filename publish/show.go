package publish

import (
	"time"

	"github.com/freshet/freshet/bases"
)

// Summary says what a repository holds.
type Summary struct {
	SignedAt string      `json:"signed_at"` // of the timestamp, RFC 3339
	Roles    []RoleState `json:"roles"`
	Bases    []BaseState `json:"bases"`
}

// BaseState is the newest version of a base and what leads to it.
type BaseState struct {
	Name        string           `json:"name"`
	Version     int64            `json:"version"`
	Published   time.Time        `json:"published"`
	Kind        string           `json:"kind"`
	File        string           `json:"file,omitempty"`
	Records     int64            `json:"records"`
	Size        int64            `json:"size"`
	Full        int64            `json:"full_bytes"`
	Index       int64            `json:"index_bytes"`
	Versions    int              `json:"versions"` // known to the index
	Checkpoints int              `json:"checkpoints"`
	Edges       int              `json:"edges"`  // deltas known to the index
	Deltas      []bases.Delta    `json:"deltas"` // to the newest version, newest first
	Checks      bases.Checks     `json:"checks"` // of the content
	Stale       bases.Thresholds `json:"stale"`
	Notes       string           `json:"notes,omitempty"`
}

// Show reads what the repository holds. Expired metadata is read too.
func (r *Repository) Show() (*Summary, error) {
	st, err := r.load(time.Time{})
	if err != nil {
		return nil, err
	}
	s := &Summary{Roles: st.roles(), Bases: []BaseState{}}
	s.SignedAt, _ = st.Timestamp.Signed.UnrecognizedFields[SignedAtField].(string)
	for _, name := range st.names() {
		m, err := r.manifest(st, name)
		if err != nil {
			return nil, err
		}
		h, err := r.history(m)
		if err != nil {
			return nil, err
		}
		s.Bases = append(s.Bases, baseState(m, h))
	}
	return s, nil
}

func baseState(m *bases.Manifest, h history) BaseState {
	b := BaseState{
		Name: m.Name, Version: m.Version, Published: m.Published, Kind: m.Image.Kind, File: m.Image.File,
		Records: m.Records, Size: m.Image.Size, Full: m.Full.Size, Index: m.Index.Size,
		Versions: len(h.Versions), Edges: len(h.Edges), Checks: m.Checks, Stale: m.Stale, Notes: m.Notes,
		Deltas: []bases.Delta{},
	}
	for _, v := range h.Versions {
		if v.Checkpoint {
			b.Checkpoints++
		}
	}
	for i := len(h.Edges) - 1; i >= 0; i-- {
		if e := h.Edges[i]; e.To == m.Version {
			b.Deltas = append(b.Deltas, bases.Delta{From: e.From, Blob: e.Blob})
		}
	}
	return b
}
