package licence_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/licence"
)

const repo = "0123456789abcdef"

// agent and stranger are IDs of agents.
var agent, stranger = agentID("first agent."), agentID("other agent.")

func agentID(twelve string) string {
	sum := sha256.Sum256([]byte(twelve))
	return hex.EncodeToString(append([]byte(twelve), sum[:4]...))
}

var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func key(n byte) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte{n})
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }

// terms ask for a licence by one of the keys.
func terms(t *testing.T, keys ...byte) licence.Terms {
	t.Helper()
	var all licence.Terms
	for _, n := range keys {
		var err error
		if all, _, err = all.Name(public(n)); err != nil {
			t.Fatal(err)
		}
	}
	all.Required = true
	return all
}

func grant(t *testing.T, change ...func(*licence.Licence)) licence.Licence {
	t.Helper()
	l, err := licence.New(repo, "Example Ltd", "", day0, day0.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&l)
	}
	return l
}

func sign(t *testing.T, n byte, l licence.Licence) []byte {
	t.Helper()
	data, err := licence.Sign(l, key(n))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t *testing.T, data []byte) *licence.Document {
	t.Helper()
	d, err := licence.Parse(data)
	if err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return d
}

func TestOneKeysLicencesStandAsTheirTimesSay(t *testing.T) {
	until := day0.AddDate(1, 0, 0)
	for _, row := range []struct {
		name string
		now  time.Time
		want licence.State
	}{
		{"at its start", day0, licence.Current},
		{"14 days and a second before its end", until.Add(-licence.SoonBefore - time.Second), licence.Current},
		{"14 days before its end", until.Add(-licence.SoonBefore), licence.ExpiresSoon},
		{"a second before its end", until.Add(-time.Second), licence.ExpiresSoon},
		{"at its end", until, licence.Expired},
		{"long after", until.AddDate(5, 0, 0), licence.Expired},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := licence.Judge(terms(t, 1), []*licence.Document{parse(t, sign(t, 1, grant(t)))}, repo, agent, row.now)
			if s.State != row.want || s.Licence == nil || s.MayUpdate() != (row.want != licence.Expired) {
				t.Errorf("%+v, want %s", s, row.want)
			}
		})
	}
}

func TestWhichLicencesCount(t *testing.T) {
	good := sign(t, 1, grant(t))
	for _, row := range []struct {
		name string
		docs [][]byte
		want licence.State
		why  string // of the first one refused
	}{
		{"none", nil, licence.Missing, ""},
		{"by another key", [][]byte{sign(t, 2, grant(t))}, licence.Missing, "signed by 0"},
		{"for another repository", [][]byte{sign(t, 1, grant(t, func(l *licence.Licence) { l.Repository = "ffffffffffffffff" }))}, licence.Missing, "for repository ff"},
		{"for another agent", [][]byte{sign(t, 1, grant(t, func(l *licence.Licence) { l.Agent = stranger }))}, licence.Missing, "for agent " + stranger},
		{"for this agent", [][]byte{sign(t, 1, grant(t, func(l *licence.Licence) { l.Agent = agent }))}, licence.Current, ""},
		{"a bad one beside a good one", [][]byte{sign(t, 2, grant(t)), good}, licence.Current, "signed by 0"},
		{"an expired one beside a good one", [][]byte{sign(t, 1, grant(t, func(l *licence.Licence) { l.Issued, l.Until = day0.AddDate(-2, 0, 0), day0.AddDate(-1, 0, 0) })), good}, licence.Current, ""},
		{"a name changed after signing", [][]byte{[]byte(strings.Replace(string(good), "Example Ltd", "Example Inc", 1))}, licence.Missing, "signed by 0"},
		{"an end changed after signing", [][]byte{[]byte(strings.Replace(string(good), "2027-", "2099-", 1))}, licence.Missing, "signed by 0"},
		{"an agent taken away after signing", [][]byte{without(t, sign(t, 1, grant(t, func(l *licence.Licence) { l.Agent = stranger })), "agent")}, licence.Missing, "signed by 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var docs []*licence.Document
			for _, data := range row.docs {
				docs = append(docs, parse(t, data))
			}
			s := licence.Judge(terms(t, 1), docs, repo, agent, day0)
			if s.State != row.want {
				t.Errorf("%s, want %s", s.State, row.want)
			}
			why := ""
			for _, v := range s.Known {
				why += v.Refused
			}
			if row.why == "" && why != "" || !strings.Contains(why, row.why) {
				t.Errorf("refused for %q, want %q", why, row.why)
			}
		})
	}
}

// without takes a field out of the signed part.
func without(t *testing.T, data []byte, field string) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc["signed"].(map[string]any), field)
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNoTermsAskForNoLicence(t *testing.T) {
	none, err := licence.ParseTerms(nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := licence.Judge(none, nil, repo, agent, day0); s.State != licence.NotRequired || !s.MayUpdate() {
		t.Errorf("%+v", s)
	}
	waived := terms(t, 1)
	waived.Required = false
	if s := licence.Judge(waived, nil, repo, agent, day0); s.State != licence.NotRequired {
		t.Errorf("%+v", s)
	}
}

func TestAThresholdCountsKeysAndNotSignatures(t *testing.T) {
	two := terms(t, 1, 2)
	two.Threshold = 2
	l := grant(t)
	one := parse(t, sign(t, 1, l))
	other := parse(t, sign(t, 2, l))
	twice := &licence.Document{Signed: l, Signatures: append(one.Signatures, one.Signatures...)}
	both := &licence.Document{Signed: l, Signatures: append(one.Signatures, other.Signatures...)}
	for _, row := range []struct {
		name string
		doc  *licence.Document
		want licence.State
	}{
		{"one of two", one, licence.Missing},
		{"the same one twice", twice, licence.Missing},
		{"both", both, licence.Current},
	} {
		if s := licence.Judge(two, []*licence.Document{row.doc}, repo, agent, day0); s.State != row.want {
			t.Errorf("%s: %s, want %s", row.name, s.State, row.want)
		}
	}
}

func TestTermsSurviveBeingWritten(t *testing.T) {
	data, err := json.Marshal(terms(t, 1, 2))
	if err != nil {
		t.Fatal(err)
	}
	got, err := licence.ParseTerms(data)
	if err != nil || !got.Required || len(got.Keys) != 2 || got.Threshold != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTermsThatAreWrongAreRefused(t *testing.T) {
	data, _ := json.Marshal(terms(t, 1))
	good := string(data)
	for name, text := range map[string]string{
		"no object":                `[]`,
		"no keys":                  `{"required":true,"threshold":1,"keys":{}}`,
		"a threshold of 0":         strings.Replace(good, `"threshold":1`, `"threshold":0`, 1),
		"a threshold above":        strings.Replace(good, `"threshold":1`, `"threshold":2`, 1),
		"a fraction":               strings.Replace(good, `"threshold":1`, `"threshold":1.5`, 1),
		"a key cut short":          strings.Replace(good, `"public":"`, `"public":"","x":"`, 1),
		"a key under another's ID": strings.Replace(good, `"keys":{"`, `"keys":{"0`, 1),
	} {
		if text == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := licence.ParseTerms([]byte(text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestAKeyOfAnotherKindVerifiesNothing(t *testing.T) {
	odd := terms(t, 1)
	for id, k := range odd.Keys {
		k.Scheme = "ed25519ph"
		odd.Keys[id] = k
	}
	data, _ := json.Marshal(odd)
	read, err := licence.ParseTerms(data)
	if err != nil {
		t.Fatal(err)
	}
	s := licence.Judge(read, []*licence.Document{parse(t, sign(t, 1, grant(t)))}, repo, agent, day0)
	if s.State != licence.Missing {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsNoLicenceIsRefused(t *testing.T) {
	good := string(sign(t, 1, grant(t)))
	for name, text := range map[string]string{
		"empty":               "",
		"null":                "null",
		"nothing signed":      `{"signed":null,"signatures":[{"keyid":"` + strings.Repeat("0", 64) + `","sig":"` + strings.Repeat("0", 128) + `"}]}`,
		"another type":        strings.Replace(good, `"type": "licence"`, `"type": "targets"`, 1),
		"an unknown field":    strings.Replace(good, `"type"`, `"free": true, "type"`, 1),
		"no signature":        good[:strings.Index(good, `"signatures"`)] + `"signatures": []}`,
		"a short signature":   strings.Replace(good, `"sig": "`, `"sig": "","keyid": "`, 1),
		"something behind it": good + "{}",
		"a line in its name":  strings.Replace(good, "Example Ltd", `Example\nLtd`, 1),
		"no name":             strings.Replace(good, "Example Ltd", "", 1),
		"a long name":         strings.Replace(good, "Example Ltd", strings.Repeat("x", 201), 1),
		"a local time":        strings.Replace(good, "2027-03-01T12:00:00Z", "2027-03-01T12:00:00+02:00", 1),
		"an end before":       strings.Replace(good, "2027-", "2025-", 1),
		"endless":             strings.Replace(good, "{", "{"+strings.Repeat(" ", licence.MaxSize), 1),
	} {
		if text == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := licence.Parse([]byte(text)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTwoReadingsOfOneFileAreNotPossible(t *testing.T) {
	good := string(sign(t, 1, grant(t)))
	for name, text := range map[string]string{
		"a field twice, the signed one first": strings.Replace(good, `"until": "2027-03-01T12:00:00Z"`, `"until": "2027-03-01T12:00:00Z", "until": "2099-03-01T12:00:00Z"`, 1),
		"a field again in capitals":           strings.Replace(good, `"until": "2027-03-01T12:00:00Z"`, `"until": "2027-03-01T12:00:00Z", "UNTIL": "2099-03-01T12:00:00Z"`, 1),
	} {
		if text == good {
			t.Fatalf("%s changes nothing", name)
		}
		d, err := licence.Parse([]byte(text))
		if err != nil {
			continue
		}
		s := licence.Judge(terms(t, 1), []*licence.Document{d}, repo, agent, day0)
		if s.State != licence.Missing {
			t.Errorf("%s: it counts until %s", name, s.Licence.Until)
		}
	}
}

func TestAnAgentIDShowsASlip(t *testing.T) {
	if err := licence.CheckAgent(agent); err != nil {
		t.Fatal(err)
	}
	for i := range agent {
		other := []byte(agent)
		other[i] ^= 1
		if err := licence.CheckAgent(string(other)); err == nil {
			t.Errorf("%s was taken", other)
		}
	}
}

func FuzzParse(f *testing.F) {
	l, err := licence.New(repo, "Example \"Ltd\" \\ é", agent, day0, day0.AddDate(1, 0, 0))
	if err != nil {
		f.Fatal(err)
	}
	l.ID = strings.Repeat("1", 32)
	good, err := licence.Sign(l, key(1))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "null", "{}", `{"signed":{},"signatures":[]}`, `{"signatures":[{}]}`,
		strings.Replace(string(good), "2027", "9999", 1), strings.ReplaceAll(string(good), `"`, `""`)} {
		f.Add([]byte(seed))
	}
	keys, _, err := licence.Terms{Required: true}.Name(public(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := licence.Parse(data)
		if err != nil {
			return
		}
		s := licence.Judge(keys, []*licence.Document{d}, repo, agent, day0)
		if s.State == licence.Missing {
			return
		}
		if d.Signed != l { // the fuzzer has no key
			t.Fatalf("forged: %+v", d.Signed)
		}
	})
}

func FuzzParseTerms(f *testing.F) {
	one, _, err := licence.Terms{Required: true}.Name(public(1))
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(one)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "null", "{}", `{"keys":{"":null},"threshold":1}`, `{"required":1}`} {
		f.Add([]byte(seed))
	}
	doc, err := licence.New(repo, "x", "", day0, day0.AddDate(1, 0, 0))
	if err != nil {
		f.Fatal(err)
	}
	data, err := licence.Sign(doc, key(2))
	if err != nil {
		f.Fatal(err)
	}
	d, err := licence.Parse(data)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := licence.ParseTerms(data)
		if err == nil {
			licence.Judge(read, []*licence.Document{d}, repo, agent, day0)
		}
	})
}
