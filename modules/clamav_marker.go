package modules

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/internal/durable"
)

// marker is a signature of the agent's own, in a file of its own, by which a
// clamd shows what it has read:
//
//	freshet-BASE-NONCE.hsb   SHA256:BYTES:Freshet.Marker.BASE.NONCE
//
// It detects nothing but a text made for it. clamd lists its folder before it
// reads the first file, and each delivery has another name for its marker and
// puts it last. So whoever detects it read every file after it was in place.
// The marker before stays until the new one was detected: a file that vanishes
// while clamd is reading makes it fail.
type marker struct {
	Dir    string `json:"dir"`    // the version's folder
	Now    string `json:"now"`    // nonce; "": none was delivered
	Before string `json:"before"` // nonce, or ""
	Seen   bool   `json:"seen"`   // clamd has detected it

	// What clamscan took at the last try, in bytes: files, and memory at most.
	Set  int64 `json:"set"`
	Peak int64 `json:"peak"`
}

const maxMarker = 64 << 10

func (c *ClamAV) markerDir() string  { return filepath.Join(c.stateDir, "delivered", c.base+"+marker") }
func (c *ClamAV) markerPath() string { return c.markerDir() + ".clamav.json" }

func (m marker) content(base string) string   { return "freshet marker " + base + " " + m.Now + "\n" }
func (m marker) signature(base string) string { return "Freshet.Marker." + base + "." + m.Now }

func markerFile(base, nonce string) string { return fmt.Sprintf("freshet-%s-%s.hsb", base, nonce) }

// marker reads what is remembered; nothing, if it cannot be read.
func (c *ClamAV) marker() marker {
	m, _ := c.readMarker()
	return m
}

// readMarker reads what is remembered. What is damaged is as if nothing was
// delivered: the next delivery has a new marker. The error is of a file that is
// to be left as it is, see [durable.Lasting].
func (c *ClamAV) readMarker() (marker, error) {
	var m marker
	err := c.disk.ReadJSON(c.markerPath(), maxMarker, 1, &m)
	switch {
	case durable.Lasting(err):
		return marker{}, err
	case err != nil:
		return marker{}, nil
	}
	return m, nil
}

func (c *ClamAV) remember(m marker) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := c.disk.MkdirAll(c.markerDir(), 0o755); err != nil {
		return err
	}
	return c.disk.WriteFile(c.markerPath(), data, 0o600)
}

func (c *ClamAV) names() []string { return []string{c.base, c.base + "+marker"} }

// stage has the files of the version delivered, and then a marker for them.
func (c *ClamAV) stage(_ context.Context, dir string, done int) (*staged, error) {
	switch done {
	case 0:
		return &staged{c.base, dir}, nil
	case 1:
		return &staged{c.base + "+marker", c.markerDir()}, c.mark(filepath.Base(dir))
	}
	return nil, nil
}

// mark makes the marker for the version in the folder named dir.
func (c *ClamAV) mark(dir string) error {
	m, err := c.readMarker()
	if err != nil {
		return fmt.Errorf("making a marker: %w", err)
	}
	if m.Dir != dir || m.Now == "" {
		m.Dir, m.Now, m.Before, m.Seen = dir, rand.Text()[:16], m.Now, false
		if err := c.remember(m); err != nil {
			return fmt.Errorf("making a marker: %w", err)
		}
	}
	wanted := []string{markerFile(c.base, m.Now)}
	if m.Before != "" {
		wanted = append(wanted, markerFile(c.base, m.Before))
	}
	there, err := os.ReadDir(c.markerDir())
	if err != nil {
		return err
	}
	for _, f := range there {
		if !slices.Contains(wanted, f.Name()) {
			if err := c.disk.RemoveAll(filepath.Join(c.markerDir(), f.Name())); err != nil {
				return err
			}
		}
	}
	path := filepath.Join(c.markerDir(), wanted[0])
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	text := m.content(c.base)
	line := fmt.Sprintf("%x:%d:%s\n", sha256.Sum256([]byte(text)), len(text), m.signature(c.base))
	return c.disk.WriteFile(path, []byte(line), 0o644)
}

// settle remembers that clamd detected the marker: the one before is removed
// at the next delivery.
func (c *ClamAV) settle(m marker) error {
	if m.Seen && m.Before == "" {
		return nil
	}
	m.Seen, m.Before = true, ""
	return c.remember(m)
}

// Behind says whether clamd was not yet seen with what was delivered.
func (c *ClamAV) Behind(v Version) bool {
	m := c.marker()
	return m.Dir == filepath.Base(v.Dir) && !m.Seen
}
