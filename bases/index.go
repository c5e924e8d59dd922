package bases

import (
	"encoding/json"
	"fmt"
)

// MaxIndex is the largest delta index in bytes that an agent takes.
const MaxIndex = 8 << 20

// Index lists the versions of a base that deltas connect. A publisher keeps
// the edges from the last 24 versions and, by way of daily checkpoints, from
// the last 30 days; an agent fetches it only when the manifest's own deltas do
// not lead from what it has.
type Index struct {
	Type     string         `json:"type"` // "index"
	Name     string         `json:"name"`
	Versions []IndexVersion `json:"versions"` // ascending
	Edges    []Edge         `json:"edges"`
}

// IndexVersion is one version and its image.
type IndexVersion struct {
	Version    int64 `json:"version"`
	Size       int64 `json:"size"`
	SHA256     Hash  `json:"sha256"`
	Checkpoint bool  `json:"checkpoint,omitempty"`
}

// Edge is a delta between two versions of the index.
type Edge struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	Blob
}

// ParseIndex reads the delta index of the base called name. The bytes must
// already have been verified against the manifest.
func ParseIndex(name string, data []byte) (*Index, error) {
	var x Index
	if err := json.Unmarshal(data, &x); err != nil {
		return nil, fmt.Errorf("delta index of base %s: %w", name, err)
	}
	if x.Type != "index" || x.Name != name {
		return nil, fmt.Errorf("delta index of base %s: it is of type %q for %q", name, x.Type, x.Name)
	}
	known := map[int64]bool{}
	for _, v := range x.Versions {
		if v.Version < 1 || v.Size <= 0 || known[v.Version] {
			return nil, fmt.Errorf("delta index of base %s: version %d is out of order or empty", name, v.Version)
		}
		known[v.Version] = true
	}
	for _, e := range x.Edges {
		if !known[e.From] || !known[e.To] || e.From >= e.To || e.Size <= 0 {
			return nil, fmt.Errorf("delta index of base %s: edge %d to %d of %d bytes", name, e.From, e.To, e.Size)
		}
	}
	return &x, nil
}
