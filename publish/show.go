package publish

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/trust"
)

// Summary says what a repository holds.
type Summary struct {
	SignedAt string      `json:"signed_at"` // of the timestamp, RFC 3339
	Roles    []RoleState `json:"roles"`

	// Fingerprint is the SHA-256, hexadecimal, of the root that agents are
	// given, for freshet enroll --fingerprint.
	Fingerprint string `json:"fingerprint"`

	Bases []BaseState `json:"bases"`

	Modules []ModuleState `json:"modules"`
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
	FarIndexes  int64            `json:"far_index_bytes"` // of all of them; an agent fetches at most one
	Versions    int              `json:"versions"`        // from which deltas lead, and the newest
	Checkpoints int              `json:"checkpoints"`
	Edges       int              `json:"edges"`  // deltas in all indexes
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
	root, err := os.ReadFile(r.path(trust.FirstRoot))
	if err != nil {
		return nil, err
	}
	s.Fingerprint = fmt.Sprintf("%x", sha256.Sum256(root))
	s.SignedAt, _ = st.Timestamp.Signed.UnrecognizedFields[SignedAtField].(string)
	for _, name := range st.names() {
		m, err := r.manifest(st, name)
		if err != nil {
			return nil, err
		}
		b, err := r.baseState(m)
		if err != nil {
			return nil, err
		}
		s.Bases = append(s.Bases, b)
	}
	s.Modules, err = r.moduleStates(st)
	return s, err
}

func (r *Repository) baseState(m *bases.Manifest) (BaseState, error) {
	h, _, err := r.history(m)
	if err != nil {
		return BaseState{}, err
	}
	b := BaseState{
		Name: m.Name, Version: m.Version, Published: m.Published, Kind: m.Image.Kind, File: m.Image.File,
		Records: m.Records, Size: m.Image.Size, Full: m.Whole(), Index: m.Index.Size,
		Checkpoints: len(h.checkpoints), Checks: m.Checks, Stale: m.Stale, Notes: m.Notes,
		Deltas: slices.Concat([]bases.Delta{}, h.deltas),
	}
	versions := map[int64]bool{}
	edges := map[[2]int64]bool{} // from and to: some stand in two indexes
	add := func(from, to int64) {
		versions[from], versions[to] = true, true
		edges[[2]int64{from, to}] = true
	}
	versions[m.Version] = true
	for _, d := range h.deltas {
		add(d.From, m.Version)
	}
	for _, c := range h.checkpoints {
		versions[c.Version] = true
		far, err := r.far(m.Name, c)
		if err != nil {
			return BaseState{}, err
		}
		if far == nil {
			continue
		}
		b.FarIndexes += c.Far.Size
		for _, d := range far.Deltas {
			add(d.From, c.Version)
		}
		if far.On != nil {
			add(c.Version, far.On.Version)
		}
	}
	b.Versions, b.Edges = len(versions), len(edges)
	return b, nil
}
