package rollback

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

// unseal checks the sum before it reads the content into v.
func unseal(data []byte, v any) error {
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if s.Content == nil {
		return errors.New("it has no content")
	}
	var content bytes.Buffer
	if err := json.Compact(&content, s.Content); err != nil {
		return err
	}
	if sum := sha256.Sum256(content.Bytes()); hex.EncodeToString(sum[:]) != s.SHA256 {
		return fmt.Errorf("its SHA-256 is %x, it says %q", sum, s.SHA256)
	}
	return json.Unmarshal(content.Bytes(), v)
}
