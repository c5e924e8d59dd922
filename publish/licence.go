package publish

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/internal/licence"
	"github.com/freshet/freshet/internal/trust"
)

// newRepositoryID gives the ID that all roots of a repository share: whatever
// root an endpoint pins, a licence is for the same repository.
func newRepositoryID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// LicenceTerms is what the repository says about licences.
type LicenceTerms struct {
	Required bool     `json:"required"`
	Keys     []string `json:"keys"`              // IDs of the keys that licences are signed with
	New      string   `json:"new_key,omitempty"` // file of the key that this call made
}

// LicenceKey names a key for licences in the targets: one that it makes in the
// first folder of keys, unless one is named already. replace names another in
// its place: all licences that were issued become void. Whether a licence is
// asked for does not change. It takes the offline keys of the targets role.
func (r *Repository) LicenceKey(ctx context.Context, replace bool) (*LicenceTerms, error) {
	return r.changeTerms(ctx, func(t *licence.Terms) (string, error) {
		if len(t.Keys) > 0 && !replace {
			return "", nil
		}
		t.Keys = nil
		return r.newLicenceKey(t, replace)
	})
}

// RequireLicence has the repository ask for a licence, or no longer. Asking
// for one names a key as [Repository.LicenceKey] does if there is none. It
// takes the offline keys of the targets role.
func (r *Repository) RequireLicence(ctx context.Context, required bool) (*LicenceTerms, error) {
	return r.changeTerms(ctx, func(t *licence.Terms) (file string, err error) {
		if len(t.Keys) == 0 && !required {
			return "", nil
		}
		t.Required = required
		if len(t.Keys) == 0 {
			file, err = r.newLicenceKey(t, false)
		}
		return file, err
	})
}

// changeTerms signs targets that say what change makes of the terms, unless
// they do already. change gives the file of a key that it made.
func (r *Repository) changeTerms(ctx context.Context, change func(*licence.Terms) (string, error)) (*LicenceTerms, error) {
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	// All keys are looked for before one is made.
	if err := ring.check(st, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP); err != nil {
		return nil, err
	}
	before, err := st.terms()
	if err != nil {
		return nil, err
	}
	after := before
	file, err := change(&after)
	if err != nil {
		return nil, err
	}
	done := &LicenceTerms{Required: after.Required, New: file, Keys: slices.Sorted(maps.Keys(after.Keys))}
	if before.Required == after.Required && maps.Equal(before.Keys, after.Keys) {
		return done, nil
	}
	if err := st.setTerms(after); err != nil {
		return nil, err
	}
	return done, r.commit(st, ring, metadata.TARGETS)
}

// newLicenceKey makes a key in the first folder of keys and names it in t.
// One that a call cut short has made is taken, but not by another, in whose
// eyes it may be the one to get rid of.
func (r *Repository) newLicenceKey(t *licence.Terms, another bool) (string, error) {
	dirs, err := r.keyDirs()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dirs[0], "offline-licence.pem")
	for n := 2; another; n++ {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		path = filepath.Join(dirs[0], fmt.Sprintf("offline-licence-%d.pem", n))
	}
	key, err := r.makeKey(path)
	if err != nil {
		return "", err
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return "", refuse("move "+path+" away, and another is made", "licences are signed with Ed25519, which %s is not", path)
	}
	named, _, err := t.Name(public)
	*t = named
	return path, err
}

// terms are what the targets say about licences.
func (st *state) terms() (licence.Terms, error) {
	value, ok := st.Targets[metadata.TARGETS].Signed.UnrecognizedFields[licence.Field]
	if !ok {
		return licence.Terms{}, nil
	}
	data, err := json.Marshal(value)
	if err != nil {
		return licence.Terms{}, err
	}
	return licence.ParseTerms(data)
}

func (st *state) setTerms(t licence.Terms) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	signed := &st.Targets[metadata.TARGETS].Signed
	signed.UnrecognizedFields = maps.Clone(signed.UnrecognizedFields)
	if signed.UnrecognizedFields == nil {
		signed.UnrecognizedFields = map[string]any{}
	}
	signed.UnrecognizedFields[licence.Field] = value
	return nil
}

// Grant asks for a licence.
type Grant struct {
	To    string
	Until time.Time // the first moment without it
	Agent string    // ID of the one agent it is for; "": any
}

// Licence issues a licence, signed by a key at hand that the targets name, and
// gives it as a file. The repository does not change.
func (r *Repository) Licence(g Grant) (licence.Licence, []byte, error) {
	none := licence.Licence{}
	st, err := r.load(time.Time{})
	if err != nil {
		return none, nil, err
	}
	terms, err := st.terms()
	if err != nil {
		return none, nil, err
	}
	if len(terms.Keys) == 0 {
		return none, nil, refuse("freshet-publish licence key "+r.Dir+" --keys MEDIUM makes one and names it", "the repository names no key for licences")
	}
	if !g.Until.After(r.now()) {
		return none, nil, refuse("give a day to come with --until", "a licence until %s would have expired already", g.Until.UTC().Format(time.RFC3339))
	}
	key, err := r.licenceKey(terms)
	if err != nil {
		return none, nil, err
	}
	root, err := r.readFile(r.metadata("1.root.json"), maxMetadata)
	if err != nil {
		return none, nil, err
	}
	l, err := licence.New(trust.RepositoryID(root), g.To, g.Agent, r.now(), g.Until)
	if err != nil {
		return none, nil, refuse("", "such a licence cannot be issued: %v", err)
	}
	data, err := licence.Sign(l, key)
	return l, data, err
}

// licenceKey finds a key at hand that the terms name.
func (r *Repository) licenceKey(t licence.Terms) (found ed25519.PrivateKey, err error) {
	err = r.eachKey(func(_ string, key crypto.Signer) error {
		_, id, err := keyID(key)
		if _, named := t.Keys[id]; named && found == nil {
			found, _ = key.(ed25519.PrivateKey) // the terms name no other kind
		}
		return err
	})
	if err == nil && found == nil {
		err = refuse("give the folder that has it with --keys", "the key for licences, offline-licence.pem, is not at hand")
	}
	return found, err
}
