package rollback

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/freshet/freshet/internal/durable"
)

// sealed is how the store's files are written: what they hold, and its
// SHA-256, so that a flipped bit that still reads as JSON is seen.
//
//	{"sha256": "…of content, white space left out…", "content": {…}}
type sealed struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
}

func seal(v any) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	data, err := json.MarshalIndent(sealed{SHA256: hex.EncodeToString(sum[:]), Content: content}, "", "  ")
	return append(data, '\n'), err
}

// newestFile is the newest format of the store's files that this code reads.
const newestFile = 1

// unseal checks the sum before it reads the content, of the file at path, into
// v. The error is a *[DamagedError], or a *[durable.NewerError]: a later format
// may seal otherwise, and says so by its format outside and no sum as ours.
func unseal(path string, data []byte, v any) error {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return &DamagedError{Path: path, Err: err}
	}
	if s.SHA256 == "" {
		if err := durable.CheckFormat(path, data, newestFile); err != nil {
			return err
		}
	}
	var content bytes.Buffer
	if s.Content == nil {
		return &DamagedError{Path: path, Err: errors.New("it has no content")}
	}
	if err := json.Compact(&content, s.Content); err != nil {
		return &DamagedError{Path: path, Err: err}
	}
	if sum := sha256.Sum256(content.Bytes()); hex.EncodeToString(sum[:]) != s.SHA256 {
		return &DamagedError{Path: path, Err: fmt.Errorf("its SHA-256 is %x, it says %q", sum, s.SHA256)}
	}
	if err := durable.CheckFormat(path, content.Bytes(), newestFile); err != nil {
		return err
	}
	if err := json.Unmarshal(content.Bytes(), v); err != nil {
		return &DamagedError{Path: path, Err: err}
	}
	return nil
}
