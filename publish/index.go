package publish

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/freshet/freshet/bases"
)

// images is a blob that lists the images kept. No agent reads it.
type images struct {
	Type   string  `json:"type"` // "images"
	Name   string  `json:"name"`
	Images []image `json:"images"` // ascending
}

// history reads the delta index that a manifest names, and the list of images.
func (r *Repository) history(m *bases.Manifest) (history, *bases.Index, error) {
	if m == nil {
		return history{}, nil, nil
	}
	x, err := r.index(m)
	if err != nil {
		return history{}, nil, err
	}
	h := history{deltas: slices.Concat(m.Deltas, x.Deltas), checkpoints: x.Checkpoints}
	slices.SortFunc(h.deltas, func(a, b bases.Delta) int { return int(b.From - a.From) })
	if h.images, err = r.readImages(m, x); err != nil {
		return history{}, nil, err
	}
	return h, x, nil
}

// index reads the delta index that a manifest names.
func (r *Repository) index(m *bases.Manifest) (*bases.Index, error) {
	if m.Index == nil {
		return nil, fmt.Errorf("version %d of base %s names no delta index", m.Version, m.Name)
	}
	data, err := r.readBlob(*m.Index, bases.MaxIndex)
	if err != nil {
		return nil, fmt.Errorf("delta index of base %s: %w", m.Name, err)
	}
	return bases.ParseIndex(m.Name, m.Version, data)
}

func (r *Repository) readImages(m *bases.Manifest, x *bases.Index) ([]image, error) {
	if x.Images == nil {
		return nil, fmt.Errorf("the delta index of version %d of base %s names no list of images", m.Version, m.Name)
	}
	data, err := r.readBlob(*x.Images, bases.MaxIndex)
	if err != nil {
		return nil, fmt.Errorf("images of base %s: %w", m.Name, err)
	}
	list, err := parseImages(m, data)
	if err != nil {
		return nil, fmt.Errorf("images of base %s: %w", m.Name, err)
	}
	return list, nil
}

func parseImages(m *bases.Manifest, data []byte) ([]image, error) {
	var list images
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	if list.Type != "images" || list.Name != m.Name {
		return nil, fmt.Errorf("the list is of type %q for %q", list.Type, list.Name)
	}
	var last image
	for _, v := range list.Images {
		if v.Version <= last.Version || v.Size <= 0 || v.Full.Size <= 0 {
			return nil, fmt.Errorf("version %d is out of order or empty", v.Version)
		}
		if chain(list.Images, v) == nil {
			return nil, fmt.Errorf("version %d is built from one that is not kept", v.Version)
		}
		last = v
	}
	if last != imageOf(m) {
		return nil, fmt.Errorf("the list does not end with version %d", m.Version)
	}
	return list.Images, nil
}

// far reads the far index of a checkpoint; nil if it has none.
func (r *Repository) far(name string, c bases.Checkpoint) (*bases.FarIndex, error) {
	if c.Far == nil {
		return nil, nil
	}
	data, err := r.readBlob(*c.Far, bases.MaxIndex)
	if err != nil {
		return nil, fmt.Errorf("far index of base %s version %d: %w", name, c.Version, err)
	}
	return bases.ParseFarIndex(name, c.Version, data)
}

// putHistory stores the list of images and the delta index of m, and names it there.
func (r *Repository) putHistory(h history, m *bases.Manifest) error {
	list, err := r.putJSON(images{Type: "images", Name: m.Name, Images: h.images}, func(data []byte) error {
		_, err := parseImages(m, data)
		return err
	})
	if err != nil {
		return err
	}
	index, err := r.putJSON(h.index(m.Name, list), func(data []byte) error {
		_, err := bases.ParseIndex(m.Name, m.Version, data)
		return err
	})
	m.Index = &index
	return err
}

// putFar stores the far index of a new checkpoint; nil if it needs none.
func (r *Repository) putFar(far *bases.FarIndex) (*bases.Blob, error) {
	if far == nil {
		return nil, nil
	}
	b, err := r.putJSON(far, func(data []byte) error {
		_, err := bases.ParseFarIndex(far.Name, far.Version, data)
		return err
	})
	return &b, err
}

// putJSON stores v as JSON, if check takes it.
func (r *Repository) putJSON(v any, check func([]byte) error) (bases.Blob, error) {
	data, err := json.Marshal(v)
	if err == nil {
		err = check(data)
	}
	if err != nil {
		return bases.Blob{}, err
	}
	return r.putBlob(data)
}
