package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// FirstRoot is where a repository keeps the root that agents are given.
const FirstRoot = "metadata/1.root.json"

// Pinned describes a root of trust.
type Pinned struct {
	Repository  string // see [RepositoryID]
	Version     int64
	Expires     time.Time
	Fingerprint string // SHA-256 of its bytes, hexadecimal
}

// ReadPinned describes the root of trust in data. The error, an [*Error], is
// [NoRoot] if it is none, or not signed by enough of its own keys. An expired
// one is no error: newer ones may follow it.
func ReadPinned(data []byte) (Pinned, error) {
	if len(data) > MaxRoot {
		return Pinned{}, fail(NoRoot, metadata.ROOT, "%w: more than %d bytes", ErrTooLarge, MaxRoot)
	}
	r := &refresh{}
	if err := r.trustRoot(data); err != nil {
		return Pinned{}, fail(NoRoot, metadata.ROOT, "it is no root of trust: %w", err)
	}
	sum := sha256.Sum256(data)
	root := r.trusted.Root.Signed
	return Pinned{
		Repository: RepositoryID(data), Version: root.Version, Expires: root.Expires,
		Fingerprint: hex.EncodeToString(sum[:]),
	}, nil
}

// newer gives the pinned root in place of the stored one where it is of a higher
// version: an operator put it there, since the chain between them is lost.
func (r *refresh) newer(pinned []byte) error {
	if len(pinned) == 0 {
		return nil
	}
	p, err := ReadPinned(pinned)
	if err != nil || p.Version <= r.trusted.Root.Signed.Version {
		return nil // what is stored is trusted, and no worse
	}
	return r.trustRoot(pinned)
}

// String is the root in words.
func (p Pinned) String() string {
	return fmt.Sprintf("repository %s (root version %d, SHA-256 %s)", p.Repository, p.Version, p.Fingerprint)
}

// SameSigned says whether two files of metadata sign the same, by whomever.
func SameSigned(a, b []byte) bool {
	part := func(data []byte) []byte {
		var m struct {
			Signed json.RawMessage `json:"signed"`
		}
		var out bytes.Buffer
		if json.Unmarshal(data, &m) != nil || json.Compact(&out, m.Signed) != nil {
			return nil
		}
		return out.Bytes()
	}
	x := part(a)
	return x != nil && bytes.Equal(x, part(b))
}
