// Package licence says whether an endpoint may take updates that its
// repository asks a licence for. It is checked offline, and has three parties:
//
//	publisher   names licence keys in the signed part of targets.json, field
//	            "x-freshet-licence", and says there whether it asks for one ([Terms])
//	licence     a small file, signed by one of these keys ([Document])
//	endpoint    keeps licences, its own ID, and per repository the mark of the
//	            one update that is possible without ([Store], [Mark])
//
// A licence is an envelope as TUF's. The signatures are over the canonical
// JSON (OLPC) of "signed", the only form that there is:
//
//	{"signed": {
//	   "type": "licence",
//	   "id": 32 hexadecimal digits,
//	   "repository": its ID,
//	   "to": whom it was given to,
//	   "issued": "2026-01-31T12:00:00Z",
//	   "until": "2027-01-31T00:00:00Z",     the first second without it
//	   "agent": the ID of the one agent it is for; absent: any
//	 },
//	 "signatures": [{"keyid": …, "sig": 64 bytes in hexadecimal}]}
//
// Keys are Ed25519 alone, named by their TUF key ID.
package licence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
)

// MaxSize is the most bytes of a licence file.
const MaxSize = 16 << 10

const (
	typeName      = "licence"
	maxName       = 200 // bytes of Licence.To
	maxSignatures = 16
)

// Licence is what a publisher grants.
type Licence struct {
	Type       string    `json:"type"`
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	To         string    `json:"to"`
	Issued     time.Time `json:"issued"`
	Until      time.Time `json:"until"`           // the first moment without it
	Agent      string    `json:"agent,omitempty"` // "": any agent
}

// New gives a licence with an ID of its own, to be signed. Times are cut to
// whole seconds.
func New(repository, to, agent string, issued, until time.Time) (Licence, error) {
	l := Licence{
		Type: typeName, ID: newID(), Repository: repository, To: to, Agent: agent,
		Issued: issued.UTC().Truncate(time.Second), Until: until.UTC().Truncate(time.Second),
	}
	return l, l.check()
}

func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

var (
	idForm         = regexp.MustCompile(`^[0-9a-f]{32}$`)
	repositoryForm = regexp.MustCompile(`^[0-9a-f]{16,64}$`)
	keyIDForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// newAgentID gives 12 random bytes and the first 4 of their SHA-256, so that a
// flipped bit or a slip in typing is seen.
func newAgentID() string {
	id, _ := hex.DecodeString(newID())
	sum := sha256.Sum256(id[:12])
	return hex.EncodeToString(append(id[:12], sum[:4]...))
}

// CheckAgent refuses what cannot be the ID of an agent.
func CheckAgent(id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || !idForm.MatchString(id) {
		return fmt.Errorf("%.40q is no agent ID of 32 hexadecimal digits", id)
	}
	if sum := sha256.Sum256(raw[:12]); !bytes.Equal(raw[12:], sum[:4]) {
		return fmt.Errorf("agent ID %s has a digit wrong", id)
	}
	return nil
}

func (l Licence) check() error {
	switch {
	case l.Type != typeName:
		return fmt.Errorf("its type is %.20q, not %q", l.Type, typeName)
	case !idForm.MatchString(l.ID):
		return fmt.Errorf("its ID %.40q has not 32 hexadecimal digits", l.ID)
	case !repositoryForm.MatchString(l.Repository):
		return fmt.Errorf("%.80q is no ID of a repository", l.Repository)
	case !l.Until.After(l.Issued):
		return errors.New("it ends before it was issued")
	case l.Agent != "" && CheckAgent(l.Agent) != nil:
		return CheckAgent(l.Agent)
	}
	for _, t := range []time.Time{l.Issued, l.Until} {
		if _, offset := t.Zone(); offset != 0 || !t.Equal(t.Truncate(time.Second)) || t.Year() < 2000 || t.Year() > 9999 {
			return fmt.Errorf("its time %s is not in UTC and whole seconds", t.Format(time.RFC3339Nano))
		}
	}
	return checkName(l.To)
}

// checkName keeps a name from steering a terminal, or from looking like lines
// of our own.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return fmt.Errorf("a name has 1 to %d bytes of UTF-8", maxName)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("the name %q has a character that cannot be printed", name)
		}
	}
	return nil
}

// Document is a licence with its signatures, not yet verified.
type Document struct {
	Signed     Licence     `json:"signed"`
	Signatures []Signature `json:"signatures"`
}

// Signature is one key's.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // hexadecimal
}

// Parse reads hostile bytes as a licence. Its form is checked, not who signed it.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("it has more than %d bytes", MaxSize)
	}
	var d Document
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("it is no licence: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the licence in the file")
	}
	if n := len(d.Signatures); n < 1 || n > maxSignatures {
		return nil, fmt.Errorf("it has %d signatures, not 1 to %d", n, maxSignatures)
	}
	for _, s := range d.Signatures {
		if sig, err := hex.DecodeString(s.Sig); err != nil || len(sig) != ed25519.SignatureSize || !keyIDForm.MatchString(s.KeyID) {
			return nil, errors.New("a signature of it is none of Ed25519")
		}
	}
	return &d, d.Signed.check()
}

// Sign gives l signed by the key and encoded as a file.
func Sign(l Licence, key ed25519.PrivateKey) ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	signed, err := cjson.EncodeCanonical(l)
	if err != nil {
		return nil, err
	}
	id, err := keyID(key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	d := Document{Signed: l, Signatures: []Signature{{KeyID: id, Sig: hex.EncodeToString(ed25519.Sign(key, signed))}}}
	data, err := json.MarshalIndent(d, "", "  ")
	return append(data, '\n'), err
}

// verify checks that enough of keys signed d. The signed bytes are made anew
// from the parsed licence: there is no second way to read what was signed.
func (d *Document) verify(keys map[string]ed25519.PublicKey, threshold int) error {
	signed, err := cjson.EncodeCanonical(d.Signed)
	if err != nil {
		return err
	}
	good := map[string]bool{}
	for _, s := range d.Signatures {
		key, named := keys[s.KeyID]
		sig, err := hex.DecodeString(s.Sig)
		if named && err == nil && ed25519.Verify(key, signed, sig) {
			good[s.KeyID] = true
		}
	}
	if len(good) < threshold {
		return fmt.Errorf("signed by %d of the keys that the repository names, not by %d", len(good), threshold)
	}
	return nil
}
