package trust_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
)

// roles in the order in which a refresh and a search come to them, with the
// file that the repository of FuzzRefresh has for each.
var roleFiles = []struct{ role, file string }{
	{root, "metadata/2.root.json"},
	{timestamp, "metadata/timestamp.json"},
	{snapshot, "metadata/2.snapshot.json"},
	{targets, "metadata/2.targets.json"},
	{"bases", "metadata/1.bases.json"},
}

// hostile are the signed parts that break something in a reader that is not
// careful. %s stands for the fields that a role must have.
var hostile = []string{
	`null`,
	`[]`,
	`{}`,
	`{%s}`,
	`{%s,"targets":{"x":null}}`,
	`{%s,"targets":{"x":{"length":-1,"hashes":{"sha256":"00"}}}}`,
	`{%s,"targets":{"x":{"length":1,"hashes":{"sha256":null}}}}`,
	`{%s,"targets":{"x":{"length":1,"hashes":{"sha256":"0"}}}}`,
	`{%s,"meta":{"snapshot.json":null,"targets.json":null}}`,
	`{%s,"meta":{}}`,
	`{%s,"meta":{"snapshot.json":{"version":-1},"targets.json":{"version":0}}}`,
	`{%s,"meta":{"snapshot.json":{"version":2,"length":-5},"targets.json":{"version":2,"length":9223372036854775807}}}`,
	`{%s,"meta":{"snapshot.json":{"version":2,"hashes":{"md5":"00"}},"targets.json":{"version":2},"bases.json":null}}`,
	`{%s,"keys":{"a":null},"roles":{"root":null,"timestamp":null}}`,
	`{%s,"keys":{"a":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}},"roles":{"root":{"keyids":["a"],"threshold":1},"timestamp":{"keyids":["a"],"threshold":1}}}`,
	`{%s,"keys":{"a":{"keytype":"rsa","scheme":"rsassa-pss-sha256","keyval":{"public":"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"}}},"roles":{"root":{"keyids":["a"],"threshold":1}}}`,
	`{%s,"keys":{},"roles":{}}`,
	`{%s,"keys":{},"roles":{"root":null,"timestamp":null}}`,
	`{%s,"roles":{"root":{"keyids":[],"threshold":-1}}}`,
	`{%s,"targets":{},"delegations":{"keys":{"a":null},"roles":[{"name":"bases","keyids":["a"],"threshold":1,"paths":["*"]}]}}`,
	`{%s,"targets":{},"delegations":{"keys":{},"roles":[null,{"name":"x"},{"name":"x"}]}}`,
	`{%s,"targets":{},"delegations":{"keys":{},"succinct_roles":{"bit_length":99,"name_prefix":"x"}}}`,
	`{%s,"targets":{},"delegations":{"keys":{},"succinct_roles":{"bit_length":8,"name_prefix":"x"}}}`,
	`{%s,"x":1.5e300}`,
	`{%s,"x":18446744073709551616}`,
	"{%s,\"x\":" + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "}",
}

func hostileFile(role, signed, signatures string) []byte {
	typ := role
	if role == "bases" {
		typ = targets
	}
	fields := fmt.Sprintf(`"_type":%q,"spec_version":"1.0.31","version":2,"expires":"2027-01-01T00:00:00Z"`, typ)
	return []byte(`{"signed":` + strings.Replace(signed, "%s", fields, 1) + `,"signatures":` + signatures + `}`)
}

// FuzzRefresh puts hostile bytes in place of one role's file: as they come,
// and, where go-tuf can read them, signed with the right keys, as if those
// had been stolen. Nothing may panic, and what was trusted stays.
func FuzzRefresh(f *testing.F) {
	for i, r := range roleFiles {
		for _, signed := range hostile {
			f.Add(i, false, hostileFile(r.role, signed, `[{"keyid":"a","sig":"00"}]`))
			f.Add(i, true, hostileFile(r.role, signed, `[]`))
		}
		f.Add(i, false, hostileFile(r.role, `{%s}`, `[null,{"keyid":null,"sig":null}]`))
		f.Add(i, false, hostileFile(r.role, `{%s}`, `[`+strings.Repeat(`{"keyid":"a","sig":""},`, 300)+`{}]`))
		f.Add(i, false, []byte(`null`))
		f.Add(i, false, []byte(nil))
	}
	r := trusttest.New(f, start)
	r.NoHashes = true
	r.Delegate("targets", metadata.DelegatedRole{Name: "bases", Paths: []string{"bases/*"}})
	r.AddTarget("bases", "bases/maltrail.json", nil, nil)
	r.PublishAll()
	good := r.Mirror()

	f.Fuzz(func(t *testing.T, which int, sign bool, data []byte) {
		if which < 0 || which >= len(roleFiles) {
			t.Skip()
		}
		at := roleFiles[which]
		if sign {
			data = resign(t, r, at.role, data)
		}
		mirror := good.Mirror()
		mirror.Files[at.file] = append([]byte{}, data...)
		e := &endpoint{t: t, Client: &trust.Client{Dir: tempDir(t), Root: r.RootBytes(1)}, now: start}
		e.Clock = &clock.Clock{Wall: e.clock}
		noPanic(t, e, mirror)
		if err := noPanic(t, e, good); err != nil && !sign {
			t.Errorf("afterwards the good source is refused: %v", err)
		}
		if v, err := e.Load(); err != nil {
			t.Errorf("afterwards the store does not load: %v", err)
		} else if _, err := v.Target(t.Context(), nil, "bases/maltrail.json"); err == nil {
			v.Expires()
		}
	})
}

// noPanic refreshes and looks a target up. That go-tuf panicked would be
// seen from the error that it becomes: the checks before it have a gap.
func noPanic(t *testing.T, e *endpoint, f trust.Fetcher) error {
	t.Helper()
	v, err := e.Client.Refresh(t.Context(), f)
	if err == nil {
		_, err = v.Target(t.Context(), f, "bases/maltrail.json")
		if err == nil {
			_, err = v.List(t.Context(), f, "bases")
		}
	}
	if err != nil && trust.KindOf(err) == "" {
		t.Errorf("error without a kind: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "broke off") {
		t.Error(err)
	}
	return err
}

// resign signs data with the keys of a role, if it can be read at all.
func resign(t *testing.T, r *trusttest.Repo, role string, data []byte) (signed []byte) {
	signed = data
	defer func() { recover() }() // go-tuf, on what only the client's own checks refuse
	switch role {
	case root:
		signed = signAs[metadata.RootType](t, r, role, data)
	case timestamp:
		signed = signAs[metadata.TimestampType](t, r, role, data)
	case snapshot:
		signed = signAs[metadata.SnapshotType](t, r, role, data)
	default:
		signed = signAs[metadata.TargetsType](t, r, role, data)
	}
	return signed
}

func signAs[T metadata.Roles](t *testing.T, r *trusttest.Repo, role string, data []byte) []byte {
	md, err := new(metadata.Metadata[T]).FromBytes(data)
	if err != nil {
		return data
	}
	md.ClearSignatures()
	for _, s := range r.Signers[role] {
		if _, err := md.Sign(s); err != nil {
			return data
		}
	}
	signed, err := md.ToBytes(false)
	if err != nil {
		return data
	}
	return signed
}
