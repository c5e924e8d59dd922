package settings_test

import (
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/settings"
)

func TestTheFirewallIsReadAndOffUnlessItIsSwitchedOn(t *testing.T) {
	s, err := settings.Parse("f", []byte("version: 1\n"))
	if err != nil || s.Firewall != nil {
		t.Fatalf("%+v, %v", s, err)
	}
	s, err = settings.Parse("f", []byte(`
version: 1
firewall:
  in: drop
  rules:
    - {name: a, direction: in, action: pass, protocol: tcp, ports: 22, from: [10.0.0.0/8, 192.0.2.1]}
  lists: [{base: bad}]
`))
	if err != nil {
		t.Fatal(err)
	}
	f := s.Firewall
	if f.Enabled || f.In != "drop" || f.Out != "pass" || f.Apply != "automatic" || f.Lists[0].Direction != "in" {
		t.Errorf("%+v", f)
	}
	if r := f.Rules[0]; r.Ports[0].String() != "22" || len(r.From) != 2 || r.From[1].String() != "192.0.2.1/32" {
		t.Errorf("%+v", r)
	}
	checkRoundTrip(t, s)
}

func TestMistakesInTheFirewallAreSaidWithTheirLines(t *testing.T) {
	rows := map[string]string{
		"rules: [{name: a, direction: in}]":                                          "action is missing",
		"rules: [{name: a, direction: in, action: ACCEPT}]":                          "is not one of pass, drop, reject",
		"rules: [{name: -j, direction: in, action: pass}]":                           "is not a name",
		"rules: [{name: a, direction: in, action: pass, ports: [22]}]":               "ports need protocol",
		"rules: [{name: a, direction: in, action: pass, from: [10.0.0.1/8]}]":        "is 10.0.0.0/8 meant?",
		"rules: [{name: a, direction: in, action: pass, interface: 'eth0; reboot'}]": "is not an interface",
		"rules: [{name: a, direction: in, action: pass, protocl: tcp}]":              "is protocol meant?",
		"lists: [{base: A}]":    "is no name of a base",
		"lists: [{}]":           "base is missing",
		"check_every: 1s":       "is not from 10s to 24h",
		"drift: fight":          "is not one of report, repair",
		"in: open":              "is not one of pass, drop, reject",
		"never_block: [nobody]": "is no address",
		"enabled: perhaps":      "wanted true or false",
		"rules: [{name: a, direction: in, action: pass}, {name: a, direction: in, action: drop}]": "stands here already",
	}
	for text, want := range rows {
		t.Run(text, func(t *testing.T) {
			_, err := settings.Parse("f", []byte("version: 1\nfirewall:\n  "+text+"\n"))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "f:") {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
