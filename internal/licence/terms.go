package licence

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Field is the field of the signed part of targets.json that holds the [Terms].
const Field = "x-freshet-licence"

const maxKeys = 16

// Terms are what a repository says about licences. Its zero value, of one that
// says nothing, asks for none.
type Terms struct {
	Required  bool           `json:"required"`
	Threshold int            `json:"threshold"` // signatures that a licence needs
	Keys      map[string]Key `json:"keys"`      // by TUF key ID
}

// Key is a public key as TUF writes it.
type Key struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"` // hexadecimal
	} `json:"keyval"`
}

// ParseTerms reads the value of [Field] of verified targets; nil is none.
// Fields that it does not know are passed over.
func ParseTerms(data json.RawMessage) (Terms, error) {
	var t Terms
	if len(data) == 0 {
		return t, nil
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return Terms{}, fmt.Errorf("reading what the repository says about licences: %w", err)
	}
	if err := t.check(); err != nil {
		return Terms{}, fmt.Errorf("what the repository says about licences: %w", err)
	}
	return t, nil
}

func (t Terms) check() error {
	if n := len(t.Keys); n < 1 || n > maxKeys {
		return fmt.Errorf("%d keys, not 1 to %d", n, maxKeys)
	}
	if t.Threshold < 1 || t.Threshold > len(t.Keys) {
		return fmt.Errorf("threshold %d of %d keys", t.Threshold, len(t.Keys))
	}
	_, err := t.keys()
	return err
}

// keys are the keys that can verify. One of another type than Ed25519 is none
// of them; one under a wrong ID is a mistake, since two IDs for one key would
// let it count twice.
func (t Terms) keys() (map[string]ed25519.PublicKey, error) {
	keys := map[string]ed25519.PublicKey{}
	for id, k := range t.Keys {
		if k.Type != metadata.KeyTypeEd25519 || k.Scheme != metadata.KeySchemeEd25519 {
			continue
		}
		public, err := hex.DecodeString(k.Value.Public)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %.20q has not %d bytes in hexadecimal", id, ed25519.PublicKeySize)
		}
		want, err := keyID(public)
		if err != nil {
			return nil, err
		}
		if id != want {
			return nil, fmt.Errorf("key %.20q stands under an ID that is not its own", id)
		}
		keys[id] = public
	}
	return keys, nil
}

// Name gives the terms with one more key, and the key's ID.
func (t Terms) Name(public ed25519.PublicKey) (Terms, string, error) {
	id, err := keyID(public)
	if err != nil {
		return t, "", err
	}
	keys := map[string]Key{}
	for i, k := range t.Keys {
		keys[i] = k
	}
	k := Key{Type: metadata.KeyTypeEd25519, Scheme: metadata.KeySchemeEd25519}
	k.Value.Public = hex.EncodeToString(public)
	keys[id] = k
	t.Keys, t.Threshold = keys, max(t.Threshold, 1)
	return t, id, t.check()
}

// keyID is TUF's: the SHA-256 of the key's canonical form.
func keyID(public ed25519.PublicKey) (string, error) {
	k, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return "", err
	}
	return k.ID()
}
