package licence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/freshet/freshet/internal/durable"
)

const markFormat = 1

// Mark says of one repository whether the one update that is possible without
// a current licence is used up.
//
//	       Spend(n)            generation n is good
//	free ───────────► pending n ──────────────────► used
//	  ▲                  │
//	  └──────────────────┘ it is not: it was reverted, or never confirmed
//
// Pending is stored before the generation is confirmed, so that no end of the
// process, however sudden, leaves an update that nothing counts.
type Mark struct {
	Format  int       `json:"format"`
	Pending int       `json:"pending,omitempty"` // the generation about to be confirmed
	Used    int       `json:"used,omitempty"`    // the generation that was
	At      time.Time `json:"at,omitzero"`       // when it was written last
	Told    string    `json:"told,omitempty"`    // ID of the licence whose end was pointed out
}

// Settle is the mark once it is known that generation good is the newest one
// confirmed. It must be applied, and stored, before any later generation is
// confirmed.
func (m Mark) Settle(good int) Mark {
	if m.Pending > 0 && good >= m.Pending {
		m.Used = m.Pending
	}
	m.Pending = 0
	return m
}

// Spend is the mark before generation n is confirmed.
func (m Mark) Spend(n int, at time.Time) (Mark, error) {
	if m.Used > 0 {
		return m, errors.New("the one update without a licence is used up")
	}
	m.Pending, m.At = n, at.UTC().Truncate(time.Second)
	return m, nil
}

func (m Mark) check() error {
	if m.Format != markFormat || m.Pending < 0 || m.Used < 0 {
		return fmt.Errorf("format %d, generations %d and %d", m.Format, m.Pending, m.Used)
	}
	return nil
}

// sealed is a mark as it is stored: with its SHA-256, so that no flipped bit
// makes a used one free.
type sealed struct {
	SHA256 string          `json:"sha256"` // of the mark's bytes
	Mark   json.RawMessage `json:"mark"`
}

func (m Mark) seal() ([]byte, error) {
	mark, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(mark)
	data, err := json.Marshal(sealed{SHA256: hex.EncodeToString(sum[:]), Mark: mark})
	return append(data, '\n'), err
}

func unseal(path string, data []byte) (Mark, error) {
	var m Mark
	var s sealed
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return m, err
	}
	if sum := sha256.Sum256(s.Mark); hex.EncodeToString(sum[:]) != s.SHA256 {
		return m, fmt.Errorf("its SHA-256 is %x, it says %.64q", sum, s.SHA256)
	}
	if err := durable.CheckFormat(path, s.Mark, markFormat); err != nil {
		return m, err
	}
	if err := json.Unmarshal(s.Mark, &m); err != nil {
		return m, err
	}
	m.Format = min(m.Format, markFormat) // see durable.Format
	return m, m.check()
}
