package bases

import (
	"encoding/json"
	"fmt"
)

// MaxIndex is the largest delta index, near or far, in bytes that an agent takes.
const MaxIndex = 128 << 10

// Index lists the deltas to a version that its manifest does not, and the
// checkpoints by way of which older versions get there. Each seventh checkpoint
// is a milestone. An agent fetches an index only when the manifest's own deltas
// do not lead from what it has:
//
//	version ──────────────────────────────────────► newest   Manifest, Index.Deltas
//	version ──► checkpoint above it ──────────────► newest   FarIndex.Deltas, Index.Deltas
//	version ──► checkpoint ──► milestone above it ► newest   …, FarIndex.On, Index.Deltas
type Index struct {
	Type        string       `json:"type"` // "index"
	Name        string       `json:"name"`
	Version     int64        `json:"version"`          // the manifest's
	Deltas      []Delta      `json:"deltas,omitempty"` // to it, newest first, but those in the manifest
	Checkpoints []Checkpoint `json:"checkpoints,omitempty"`
	Images      *Blob        `json:"images,omitempty"` // for the publisher: what the next deltas are made from
}

// IndexVersion is a version and its image, as deltas lead to it.
type IndexVersion struct {
	Version int64 `json:"version"`
	Size    int64 `json:"size"`
	SHA256  Hash  `json:"sha256"`
}

// Checkpoint is a version by way of which older ones reach the newest.
type Checkpoint struct {
	Version   int64 `json:"version"`
	Milestone bool  `json:"milestone,omitempty"`
	Far       *Blob `json:"far,omitempty"` // a [FarIndex]; nil: no delta leads to it
}

// FarIndex lists the deltas to one checkpoint from the versions before it. It
// is written with the checkpoint, and once more when a milestone follows.
type FarIndex struct {
	Type string `json:"type"` // "far-index"
	Name string `json:"name"`
	IndexVersion
	On     *On     `json:"on,omitempty"`
	Deltas []Delta `json:"deltas"` // newest first
}

// On is the delta from a checkpoint to the milestone above it.
type On struct {
	IndexVersion
	Delta Blob `json:"delta"`
}

// ParseIndex reads the delta index of a version of the base called name. The
// bytes must already have been verified against the manifest; what they say is
// still checked for sense.
func ParseIndex(name string, version int64, data []byte) (*Index, error) {
	var x Index
	err := parse(data, &x)
	if err == nil {
		err = x.check(name, version)
	}
	if err != nil {
		return nil, fmt.Errorf("delta index of base %s: %w", name, err)
	}
	return &x, nil
}

// ParseFarIndex reads the far index of a checkpoint of the base called name.
// The bytes must already have been verified against the delta index.
func ParseFarIndex(name string, checkpoint int64, data []byte) (*FarIndex, error) {
	var x FarIndex
	err := parse(data, &x)
	if err == nil {
		err = x.check(name, checkpoint)
	}
	if err != nil {
		return nil, fmt.Errorf("far index of base %s version %d: %w", name, checkpoint, err)
	}
	return &x, nil
}

func parse(data []byte, to any) error {
	if len(data) > MaxIndex {
		return fmt.Errorf("it has %d bytes, the most is %d", len(data), MaxIndex)
	}
	return json.Unmarshal(data, to)
}

func (x *Index) check(name string, version int64) error {
	if x.Type != "index" || x.Name != name || x.Version != version {
		return fmt.Errorf("it is of type %q for %q version %d, not for version %d", x.Type, x.Name, x.Version, version)
	}
	if err := checkDeltas(x.Deltas, x.Version); err != nil {
		return err
	}
	if x.Images != nil {
		if err := x.Images.checkIndex(); err != nil {
			return fmt.Errorf("list of images: %w", err)
		}
	}
	last := int64(0)
	for _, c := range x.Checkpoints {
		if c.Version <= last || c.Version > x.Version {
			return fmt.Errorf("checkpoint %d is out of order", c.Version)
		}
		last = c.Version
		if c.Far != nil {
			if err := c.Far.checkIndex(); err != nil {
				return fmt.Errorf("far index of checkpoint %d: %w", c.Version, err)
			}
		}
	}
	return nil
}

func (x *FarIndex) check(name string, checkpoint int64) error {
	if x.Type != "far-index" || x.Name != name || x.Version != checkpoint {
		return fmt.Errorf("it is of type %q for %q version %d", x.Type, x.Name, x.Version)
	}
	if err := x.IndexVersion.check(); err != nil {
		return err
	}
	if x.On != nil {
		if err := x.On.check(); err != nil {
			return err
		}
		if x.On.Version <= x.Version || x.On.Delta.Size <= 0 {
			return fmt.Errorf("delta on to version %d of %d bytes", x.On.Version, x.On.Delta.Size)
		}
	}
	return checkDeltas(x.Deltas, x.Version)
}

func (t IndexVersion) check() error {
	if t.Version < 1 || t.Size <= 0 {
		return fmt.Errorf("version %d with an image of %d bytes", t.Version, t.Size)
	}
	return nil
}

// checkDeltas wants deltas to a version newest first, one from each.
func checkDeltas(deltas []Delta, to int64) error {
	above := to
	for _, d := range deltas {
		if d.From < 1 || d.From >= above {
			return fmt.Errorf("the delta from version %d to %d is out of order", d.From, to)
		}
		if d.Size <= 0 {
			return fmt.Errorf("delta from version %d of %d bytes", d.From, d.Size)
		}
		above = d.From
	}
	return nil
}

// checkIndex says whether b can be an index that another one names.
func (b Blob) checkIndex() error {
	if b.Size <= 0 || b.Size > MaxIndex {
		return fmt.Errorf("it has %d bytes, the most is %d", b.Size, MaxIndex)
	}
	return nil
}
