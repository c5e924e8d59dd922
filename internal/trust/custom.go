package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// TargetsField gives a field of the signed part of the top-level targets that
// TUF does not know; nil if there is none. Without verified targets the error
// is that which keeps them away, such as [NotStored].
func (v *View) TargetsField(name string) (json.RawMessage, error) {
	md, err := v.load(context.Background(), nil, metadata.TARGETS, nil)
	if err != nil {
		return nil, err
	}
	value, ok := md.Signed.UnrecognizedFields[name]
	if !ok {
		return nil, nil
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil, &Error{Kind: Malformed, Role: metadata.TARGETS, Err: fmt.Errorf("field %q: %w", name, err)}
	}
	return data, nil
}

// RepositoryField is the field of the signed part of all roots of one
// repository that holds its ID, 16 to 64 hexadecimal digits.
const RepositoryField = "x-freshet-repository"

var repositoryForm = regexp.MustCompile(`^[0-9a-f]{16,64}$`)

// RepositoryID names the repository that a root of trust belongs to: by
// [RepositoryField], else by the root's own hash.
func RepositoryID(root []byte) string {
	var doc struct {
		Signed struct {
			ID string `json:"x-freshet-repository"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(root, &doc); err == nil && repositoryForm.MatchString(doc.Signed.ID) {
		return doc.Signed.ID
	}
	sum := sha256.Sum256(root)
	return hex.EncodeToString(sum[:8])
}
