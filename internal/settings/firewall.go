package settings

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/freshet/freshet/firewall"
)

// Firewall is what the host's rules are to do, and how they are looked after.
type Firewall struct {
	Enabled    bool     `yaml:"enabled" json:"enabled"`
	Apply      string   `yaml:"apply" json:"apply" public:"yes"` // one of Applying
	Drift      string   `yaml:"drift" json:"drift" public:"yes"` // one of Drifts
	CheckEvery Duration `yaml:"check_every" json:"check_every"`

	firewall.Policy `yaml:",inline"`
}

// Applying are the ways in which a change of the rules comes into force.
func Applying() []string { return []string{"automatic", "manual"} }

// Drifts are what is done about changes that others made.
func Drifts() []string { return []string{"report", "repair"} }

// DefaultFirewall is a section of which nothing is set.
func DefaultFirewall() *Firewall {
	return &Firewall{
		Apply: "automatic", Drift: "report", CheckEvery: Duration(time.Minute),
		Policy: firewall.Policy{In: firewall.Pass, Out: firewall.Pass},
	}
}

func (d *decoder) firewall(n *yaml.Node) *Firewall {
	f := DefaultFirewall()
	d.mapping(n, "firewall", fields{
		"enabled":     d.boolean(&f.Enabled, "firewall.enabled"),
		"apply":       d.str(&f.Apply, "firewall.apply", oneOf(Applying())),
		"drift":       d.str(&f.Drift, "firewall.drift", oneOf(Drifts())),
		"check_every": d.duration(&f.CheckEvery, "firewall.check_every", 10*time.Second, day),
		"in":          word(d, &f.In, "firewall.in", firewall.CheckAction),
		"out":         word(d, &f.Out, "firewall.out", firewall.CheckAction),
		"rules": func(n *yaml.Node) {
			d.list(n, "firewall.rules", func(i int, n *yaml.Node) {
				f.Rules = append(f.Rules, d.rule(n, fmt.Sprintf("firewall.rules[%d]", i)))
			})
		},
		"lists": func(n *yaml.Node) {
			d.list(n, "firewall.lists", func(i int, n *yaml.Node) {
				f.Lists = append(f.Lists, d.blockList(n, fmt.Sprintf("firewall.lists[%d]", i)))
			})
		},
		"never_block": prefixes(d, &f.NeverBlock, "firewall.never_block"),
	})
	if len(d.problems) == 0 {
		if err := f.Check(); err != nil {
			d.problem(n.Line, "firewall: %v", err)
		}
	}
	return f
}

func (d *decoder) rule(n *yaml.Node, what string) firewall.Rule {
	var r firewall.Rule
	at := func(key string) string { return what + "." + key }
	before := len(d.problems)
	d.mapping(n, what, fields{
		"name":       d.str(&r.Name, at("name"), firewall.CheckName),
		"direction":  word(d, &r.Direction, at("direction"), firewall.CheckDirection),
		"action":     word(d, &r.Action, at("action"), firewall.CheckAction),
		"protocol":   word(d, &r.Protocol, at("protocol"), firewall.CheckProtocol),
		"from":       prefixes(d, &r.From, at("from")),
		"to":         prefixes(d, &r.To, at("to")),
		"from_ports": each(d, &r.FromPorts, at("from_ports"), firewall.ParsePorts),
		"ports":      each(d, &r.Ports, at("ports"), firewall.ParsePorts),
		"interface":  d.str(&r.Interface, at("interface"), firewall.CheckInterface),
		"icmp":       each(d, &r.ICMP, at("icmp"), known(firewall.ICMPTypes())),
		"state":      each(d, &r.State, at("state"), known(firewall.States())),
		"log":        d.boolean(&r.Log, at("log")),
		"comment":    d.str(&r.Comment, at("comment"), firewall.CheckComment),
	})
	for key, value := range map[string]string{"name": r.Name, "direction": string(r.Direction), "action": string(r.Action)} {
		if value == "" {
			d.required(n, what, key)
		}
	}
	if len(d.problems) > before {
		return r
	}
	if err := r.Check(); err != nil {
		d.problem(n.Line, "%s: %v", what, err)
	}
	return r
}

func (d *decoder) blockList(n *yaml.Node, what string) firewall.List {
	l := firewall.List{Direction: "in"}
	d.mapping(n, what, fields{
		"base":      d.str(&l.Base, what+".base", baseName),
		"direction": d.str(&l.Direction, what+".direction", firewall.CheckListDirection),
		"log":       d.boolean(&l.Log, what+".log"),
	})
	if l.Base == "" {
		d.required(n, what, "base")
	}
	return l
}

// word sets to by a text of the type T that passes check.
func word[T ~string](d *decoder, to *T, what string, check func(string) error) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var s string
		d.str(&s, what, check)(n)
		*to = T(s)
	}
}

// each sets to by a list of texts that parse reads; one alone may stand
// without the list.
func each[T any](d *decoder, to *[]T, what string, parse func(string) (T, error)) func(*yaml.Node) {
	one := func(n *yaml.Node) {
		s, ok := d.text(n, what)
		if !ok {
			return
		}
		v, err := parse(s)
		if err != nil {
			d.problem(n.Line, "%s: %v", what, err)
			return
		}
		*to = append(*to, v)
	}
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			one(n)
			return
		}
		d.list(n, what, func(_ int, n *yaml.Node) { one(n) })
	}
}

func prefixes(d *decoder, to *[]netip.Prefix, what string) func(*yaml.Node) {
	return each(d, to, what, firewall.ParsePrefix)
}

func known(all []string) func(string) (string, error) {
	return func(s string) (string, error) {
		if slices.Contains(all, s) {
			return s, nil
		}
		return "", oneOf(all)(s)
	}
}
