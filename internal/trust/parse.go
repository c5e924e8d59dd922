package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// parse reads hostile bytes as metadata of type T.
func parse[T metadata.Roles](role string, data []byte) (*metadata.Metadata[T], error) {
	if err := checkShape(role, data); err != nil {
		return nil, err
	}
	var md *metadata.Metadata[T]
	err := guard(func() (err error) {
		md, err = new(metadata.Metadata[T]).FromBytes(data)
		return err
	})
	return md, err
}

// delegator is metadata that names the keys of other roles.
type delegator interface {
	VerifyDelegate(role string, signed any) error
}

func verify(by delegator, role string, signed any) error {
	return guard(func() error { return by.VerifyDelegate(role, signed) })
}

// guard turns a panic of go-tuf's into an error. checkShape refuses what is
// known to cause one (null in place of an object, keys of a wrong length);
// this is for what is not known: bytes of a stranger must not end the agent.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("verifying broke off: %v", p)
		}
	}()
	return do()
}

// shape is what all metadata has in common, as far as it needs checking
// before go-tuf reads it.
type shape struct {
	Signed *struct {
		Type        string                `json:"_type"`
		SpecVersion string                `json:"spec_version"`
		Version     int64                 `json:"version"`
		Keys        map[string]*keyShape  `json:"keys"`
		Roles       map[string]*struct{}  `json:"roles"`
		Meta        map[string]*metaShape `json:"meta"`
		Targets     map[string]*fileShape `json:"targets"`
		Delegations *struct {
			Keys  map[string]*keyShape `json:"keys"`
			Roles []struct {
				Name string `json:"name"`
			} `json:"roles"`
		} `json:"delegations"`
	} `json:"signed"`
	Signatures []json.RawMessage `json:"signatures"`
}

type keyShape struct {
	Type  string `json:"keytype"`
	Value struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

type metaShape struct {
	Version int64 `json:"version"`
	Length  int64 `json:"length"`
}

type fileShape struct {
	Length int64 `json:"length"`
}

func checkShape(role string, data []byte) error {
	var s shape
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	// go-tuf compares each signature with each other: unbounded, 5 MiB of
	// them would keep a processor busy for minutes.
	if len(s.Signatures) > maxSignatures {
		return fmt.Errorf("%d signatures, more than %d", len(s.Signatures), maxSignatures)
	}
	if s.Signed == nil {
		return errors.New("nothing signed in it")
	}
	if s.Signed.Type != typeOf(role) {
		return fmt.Errorf("its type is %.20q, not %q", s.Signed.Type, typeOf(role))
	}
	if v := s.Signed.SpecVersion; !strings.HasPrefix(v, "1.") {
		return fmt.Errorf("made for version %.20q of the TUF specification, not for 1.x", v)
	}
	if s.Signed.Version < 1 {
		return fmt.Errorf("version %d is below 1", s.Signed.Version)
	}
	if err := errors.Join(checkKeys(s.Signed.Keys), checkFiles(role, &s)); err != nil {
		return err
	}
	return checkDelegations(&s)
}

// typeOf is the type of a role's metadata: all delegated roles are targets.
func typeOf(role string) string {
	switch role {
	case metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT:
		return role
	}
	return metadata.TARGETS
}

func checkKeys(keys map[string]*keyShape) error {
	for id, k := range keys {
		if k == nil {
			return fmt.Errorf("key %.20q is null", id)
		}
		// crypto/ed25519 panics on a key of another length.
		if k.Type == metadata.KeyTypeEd25519 && len(k.Value.Public) != 64 {
			return fmt.Errorf("ed25519 key %.20q has no 32 bytes", id)
		}
	}
	return nil
}

func checkFiles(role string, s *shape) error {
	for name, r := range s.Signed.Roles {
		if r == nil {
			return fmt.Errorf("role %.64q is null", name)
		}
	}
	for name, m := range s.Signed.Meta {
		if m == nil || m.Version < 1 || m.Length < 0 {
			return fmt.Errorf("what it says of %.64q is not a version of 1 or more", name)
		}
	}
	for path, t := range s.Signed.Targets {
		if t == nil || t.Length < 0 {
			return fmt.Errorf("what it says of target %.200q is not a length of 0 or more", path)
		}
	}
	named := map[string]string{
		metadata.TIMESTAMP: metadata.SNAPSHOT + ".json",
		metadata.SNAPSHOT:  metadata.TARGETS + ".json",
	}[role]
	if named != "" && s.Signed.Meta[named] == nil {
		return fmt.Errorf("%s is not named in it", named)
	}
	return nil
}

func checkDelegations(s *shape) error {
	if s.Signed.Delegations == nil {
		return nil
	}
	if err := checkKeys(s.Signed.Delegations.Keys); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range s.Signed.Delegations.Roles {
		switch r.Name {
		case "", metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS:
			return fmt.Errorf("a delegated role may not be named %q", r.Name)
		}
		if len(r.Name) > maxRoleName {
			return fmt.Errorf("the name of delegated role %.20q… is longer than %d bytes", r.Name, maxRoleName)
		}
		if seen[r.Name] {
			return fmt.Errorf("role %q is delegated twice", r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}
