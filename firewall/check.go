package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a policy.
const (
	MaxRules     = 20000
	MaxLists     = 16
	maxAddresses = 256 // of a rule, and each direction
	maxPorts     = 64
	maxLines     = 100000 // of a family, once rules are spread out
)

// What may stand in the names that end up as words of commands and rule files.
// Nothing that begins with a dash, no quote, no white space but a space, no
// line end: see FuzzPolicy.
var (
	nameForm      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	commentForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 .,:/_()+=-]{0,79}$`)
	interfaceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,13}[A-Za-z0-9_.+-]?$`)
	baseForm      = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
)

// Check says all that is wrong with the policy, one line each.
func (p Policy) Check() error {
	var errs []error
	for what, a := range map[string]Action{"in": p.In, "out": p.Out} {
		if err := CheckAction(string(a)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if len(p.Rules) > MaxRules {
		return fmt.Errorf("%d rules are more than %d", len(p.Rules), MaxRules)
	}
	seen := map[string]bool{}
	for i, r := range p.Rules {
		err := r.Check()
		if err == nil && seen[r.Name] {
			err = fmt.Errorf("a rule %s stands here already", r.Name)
		}
		seen[r.Name] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("rules[%d]: %w", i, err))
		}
	}
	errs = append(errs, p.checkLists(), prefixes("never_block", p.NeverBlock))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, fam := range Families() {
		if n := len(spread(p, fam, nil, nil)); n > maxLines {
			return fmt.Errorf("the rules come to %d lines for %s, more than %d: use networks and ranges", n, fam, maxLines)
		}
	}
	return nil
}

func (p Policy) checkLists() error {
	var errs []error
	if len(p.Lists) > MaxLists {
		return fmt.Errorf("%d lists are more than %d", len(p.Lists), MaxLists)
	}
	seen := map[string]bool{}
	for i, l := range p.Lists {
		err := l.Check()
		if err == nil && seen[l.Base] {
			err = fmt.Errorf("base %s stands here already", l.Base)
		}
		seen[l.Base] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("lists[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// Check says what is wrong with the list.
func (l List) Check() error {
	if !baseForm.MatchString(l.Base) {
		return fmt.Errorf("%.64q is no name of a base", l.Base)
	}
	return CheckListDirection(l.Direction)
}

// Check says what is wrong with the rule.
func (r Rule) Check() error {
	err := errors.Join(
		CheckName(r.Name), CheckDirection(string(r.Direction)), CheckAction(string(r.Action)),
		CheckProtocol(string(r.Protocol)), CheckInterface(r.Interface), CheckComment(r.Comment),
		prefixes("from", r.From), prefixes("to", r.To), ports("from_ports", r.FromPorts), ports("ports", r.Ports),
		words("icmp", r.ICMP, ICMPTypes()), words("state", r.State, States()),
	)
	switch {
	case err != nil:
		return fmt.Errorf("rule %.32q: %w", r.Name, err)
	case len(r.Ports)+len(r.FromPorts) > 0 && r.Protocol != TCP && r.Protocol != UDP:
		return fmt.Errorf("rule %s: ports need protocol tcp or udp", r.Name)
	case len(r.ICMP) > 0 && r.Protocol != ICMP:
		return fmt.Errorf("rule %s: icmp types need protocol icmp", r.Name)
	case len(flatten(r, V4))+len(flatten(r, V6)) == 0:
		return fmt.Errorf("rule %s fits no packet: from, to and icmp are not all of IPv4, or all of IPv6", r.Name)
	}
	return nil
}

// CheckName says what is wrong with a rule's name.
func CheckName(s string) error {
	return formed(nameForm, s, "a name: 1 to 32 of a-z, 0-9 and -, the first no -")
}

// CheckComment says what is wrong with a rule's comment; "" is none.
func CheckComment(s string) error {
	if s == "" {
		return nil
	}
	return formed(commentForm, s, "a comment: up to 80 letters, digits, spaces and . , : / _ ( ) + = -, the first a letter or digit")
}

// CheckInterface says what is wrong with the name of an interface; "" is any.
func CheckInterface(s string) error {
	if s == "" {
		return nil
	}
	return formed(interfaceForm, s, "an interface: a name as eth0, or the beginning of several and +, as eth+")
}

// CheckDirection says whether s is a direction.
func CheckDirection(s string) error { return oneOf(s, string(In), string(Out)) }

// CheckListDirection says whether s is a direction of a list.
func CheckListDirection(s string) error { return oneOf(s, string(In), string(Out), "both") }

// CheckAction says whether s is an action.
func CheckAction(s string) error { return oneOf(s, string(Pass), string(Drop), string(Reject)) }

// CheckProtocol says whether s is a protocol, or "".
func CheckProtocol(s string) error { return oneOf(s, string(TCP), string(UDP), string(ICMP), "") }

func oneOf(s string, allowed ...string) error {
	if slices.Contains(allowed, s) {
		return nil
	}
	return fmt.Errorf("%.32q is not one of %s", s, strings.Join(slices.DeleteFunc(allowed, func(a string) bool { return a == "" }), ", "))
}

func formed(form *regexp.Regexp, s, wanted string) error {
	if form.MatchString(s) {
		return nil
	}
	return fmt.Errorf("%.80q is not %s", s, wanted)
}

func words(what string, all, allowed []string) error {
	if len(all) > len(allowed) {
		return fmt.Errorf("%s: more than there are", what)
	}
	for _, s := range all {
		if err := oneOf(s, allowed...); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func prefixes(what string, all []netip.Prefix) error {
	if len(all) > maxAddresses {
		return fmt.Errorf("%s: %d addresses are more than %d: make an ip-list base of them", what, len(all), maxAddresses)
	}
	for _, p := range all {
		if !p.IsValid() {
			return fmt.Errorf("%s: an address is missing", what)
		}
		if q, err := ParsePrefix(p.String()); err != nil || q != p {
			return fmt.Errorf("%s: %s is no network", what, p)
		}
	}
	return nil
}

func ports(what string, all []Ports) error {
	if len(all) > maxPorts {
		return fmt.Errorf("%s: %d are more than %d", what, len(all), maxPorts)
	}
	for _, p := range all {
		if p.First == 0 || p.Last < p.First {
			return fmt.Errorf("%s: %d-%d is no range", what, p.First, p.Last)
		}
	}
	return nil
}
