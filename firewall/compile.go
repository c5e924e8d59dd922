package firewall

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// table is where Freshet's chains stand: others' nat and mangle, and FORWARD,
// are none of its business.
const table = "filter"

// chainMark begins the name of every chain and set of Freshet's.
const chainMark = "FRESHET-"

// RuleSet is a policy compiled for one family, as the chains of set number
// Number. Its lines are words of iptables, in the very spelling in which
// iptables -S gives them back.
type RuleSet struct {
	Family Family
	Number int
	Chains []Chain
}

// Chain is a chain of Freshet's own.
type Chain struct {
	Name  string
	Rules [][]string // words that follow -A NAME
}

// Material is what a policy is compiled with besides itself.
type Material struct {
	Sets   map[Family]map[string]string // of each list, the kernel's set, by base
	Blocks map[Family]map[string][]line // or the lines that stand for it

	lists map[string]Addresses
}

// Compile gives the rule set of a policy that passed [Policy.Check]. It is a
// pure function: equal arguments give equal rules.
func Compile(p Policy, number int, fam Family, m Material) RuleSet {
	rs := RuleSet{Family: fam, Number: number}
	index := map[string]int{}
	for _, l := range spread(p, fam, m.Sets[fam], m.Blocks[fam]) {
		i, ok := index[l.chain]
		if !ok {
			i = len(rs.Chains)
			index[l.chain] = i
			rs.Chains = append(rs.Chains, Chain{Name: chainName(l.chain, number)})
		}
		rs.Chains[i].Rules = append(rs.Chains[i].Rules, l.iptables(fam, number))
	}
	return rs
}

// entries are the built-in chains and what is entered from each.
var entries = []struct {
	builtin string
	own     Direction
}{{"INPUT", In}, {"OUTPUT", Out}}

// chainName is at most 28 bytes, as the kernel wants it.
func chainName(chain string, number int) string {
	return chainMark + strings.ToUpper(chain) + "-" + strconv.Itoa(number)
}

// iptables gives the words of a line. Each text of the operator's is one word,
// behind an option that takes one.
func (l line) iptables(fam Family, number int) []string {
	var w []string
	add := func(words ...string) { w = append(w, words...) }
	if l.from.IsValid() {
		add("-s", l.from.String())
	}
	if l.to.IsValid() {
		add("-d", l.to.String())
	}
	if l.iface != "" && l.outgoing {
		add("-o", l.iface)
	} else if l.iface != "" {
		add("-i", l.iface)
	}
	if l.proto != "" {
		add("-p", protocolWord(l.proto, fam))
	}
	if l.set != "" && l.outgoing {
		add("-m", "set", "--match-set", l.set, "dst")
	} else if l.set != "" {
		add("-m", "set", "--match-set", l.set, "src")
	}
	if len(l.states) > 0 {
		add("-m", "conntrack", "--ctstate", strings.ToUpper(strings.Join(l.states, ",")))
	}
	add(l.portWords()...)
	add(icmpWords(l.icmp, fam)...)
	if l.does == toLog {
		add("-m", "limit", "--limit", "10/sec", "--limit-burst", "20")
	}
	add("-m", "comment", "--comment", l.label())
	return append(w, l.verdictWords(fam, number)...)
}

func protocolWord(p Protocol, fam Family) string {
	if p == ICMP && fam == V6 {
		return "ipv6-icmp"
	}
	return string(p)
}

// label is the comment that a line bears.
func (l line) label() string {
	if l.comment == "" {
		return l.name
	}
	return l.name + ": " + l.comment
}

func (l line) portWords() []string {
	var single, multi []string
	put := func(one, many string, all []Ports) {
		switch len(all) {
		case 0:
		case 1:
			single = append(single, one, all[0].join(":"))
		default:
			var list []string
			for _, p := range all {
				list = append(list, p.join(":"))
			}
			multi = append(multi, "-m", "multiport", many, strings.Join(list, ","))
		}
	}
	put("--sport", "--sports", l.fromPorts)
	put("--dport", "--dports", l.ports)
	if len(single) > 0 {
		single = append([]string{"-m", string(l.proto)}, single...)
	}
	return append(single, multi...)
}

func icmpWords(name string, fam Family) []string {
	if name == "" {
		return nil
	}
	t, _ := icmpOf(name)
	if fam == V6 {
		return []string{"-m", "icmp6", "--icmpv6-type", strconv.Itoa(t.v6)}
	}
	return []string{"-m", "icmp", "--icmp-type", strconv.Itoa(t.v4)}
}

func (l line) verdictWords(fam Family, number int) []string {
	switch l.does {
	case toPass:
		return []string{"-j", "RETURN"}
	case toReject:
		how := "icmp-port-unreachable"
		switch {
		case l.proto == TCP:
			how = "tcp-reset"
		case fam == V6:
			how = "icmp6-port-unreachable"
		}
		return []string{"-j", "REJECT", "--reject-with", how}
	case toLog:
		return []string{"-j", "LOG", "--log-prefix", l.logPrefix()}
	case toChain:
		return []string{"-j", chainName(l.jump, number)}
	}
	return []string{"-j", "DROP"}
}

// maxLogPrefix is what a line of the kernel's log has room for.
const maxLogPrefix = 29

func (l line) logPrefix() string {
	const mark = "freshet:"
	name := l.name
	if l.name == listLine {
		name = l.comment
	}
	return mark + name[:min(len(name), maxLogPrefix-len(mark)-1)] + " "
}

// Restore is the text of the one transaction that puts the rule set in place
// of what present says stands there, for iptables-restore --noflush. Everything
// is built under new names before the jumps are flipped; a line that is refused
// leaves all as it was.
func (rs RuleSet) Restore(present Present) string {
	var b strings.Builder
	b.WriteString("*" + table + "\n")
	for _, c := range rs.Chains {
		fmt.Fprintf(&b, ":%s - [0:0]\n", c.Name)
	}
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			b.WriteString("-A " + c.Name + " " + joined(r) + "\n")
		}
	}
	present.unhook(&b)
	for _, e := range entries {
		fmt.Fprintf(&b, "-I %s 1 -j %s\n", e.builtin, chainName(string(e.own), rs.Number))
	}
	present.drop(&b, rs.names())
	b.WriteString("COMMIT\n")
	return b.String()
}

func (rs RuleSet) names() []string {
	var names []string
	for _, c := range rs.Chains {
		names = append(names, c.Name)
	}
	return names
}

// Present is what of Freshet's stands in the kernel: the rules of each built-in
// chain that lead to a chain of Freshet's, in their order and as iptables -S
// writes them behind -A CHAIN, and these chains.
type Present struct {
	Jumps  map[string][]string
	Chains []string
}

// None says that nothing of Freshet's is there.
func (p Present) None() bool {
	return len(p.Chains) == 0 && len(p.Jumps["INPUT"])+len(p.Jumps["OUTPUT"])+len(p.Jumps["FORWARD"]) == 0
}

// Remove is the transaction that takes all that is there away.
func (p Present) Remove() string {
	var b strings.Builder
	b.WriteString("*" + table + "\n")
	p.unhook(&b)
	p.drop(&b, nil)
	b.WriteString("COMMIT\n")
	return b.String()
}

func (p Present) unhook(b *strings.Builder) {
	for _, builtin := range []string{"INPUT", "OUTPUT", "FORWARD"} {
		for _, rule := range p.Jumps[builtin] {
			fmt.Fprintf(b, "-D %s %s\n", builtin, rule)
		}
	}
}

// drop removes the chains but those to keep. They are emptied first: they may
// lead to one another.
func (p Present) drop(b *strings.Builder, keep []string) {
	for _, verb := range []string{"-F", "-X"} {
		for _, c := range p.Chains {
			if !slices.Contains(keep, c) {
				b.WriteString(verb + " " + c + "\n")
			}
		}
	}
}

// joined gives words as one line of a rule file: a word with a space is quoted.
// No word holds a quote, see [Policy.Check].
func joined(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if strings.ContainsAny(w, " ") || w == "" {
			quoted[i] = `"` + w + `"`
		}
	}
	return strings.Join(quoted, " ")
}

// parted is joined undone, for what iptables -S gives back. In the rules of
// others a backslash takes the next letter as it is.
func parted(text string) []string {
	var words []string
	var now strings.Builder
	in, some, escaped := false, false, false
	for _, r := range text {
		switch {
		case escaped:
			now.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, some = true, true
		case r == '"':
			in, some = !in, true
		case r == ' ' && !in:
			if some {
				words = append(words, now.String())
			}
			now.Reset()
			some = false
		default:
			now.WriteRune(r)
			some = true
		}
	}
	if some {
		words = append(words, now.String())
	}
	return words
}
