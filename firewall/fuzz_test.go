package firewall_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/firewall/iplist"
)

// What may stand in a rule file of Freshet's, and nothing else. This is written
// anew from the manual pages, not from the compiler.
var (
	ownChain  = regexp.MustCompile(`^FRESHET-[A-Z0-9.-]{1,19}$`)
	plainWord = regexp.MustCompile(`^[A-Za-z0-9_.,:/+-]+$`)
	labelWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 .,:/_()+=-]*$`)
	targets   = map[string]bool{"RETURN": true, "DROP": true, "REJECT": true, "LOG": true}
	options   = map[string]bool{
		"-s": true, "-d": true, "-i": true, "-o": true, "-p": true, "-m": true, "--match-set": true, "--ctstate": true,
		"--sport": true, "--dport": true, "--sports": true, "--dports": true, "--icmp-type": true, "--icmpv6-type": true,
		"--limit": true, "--limit-burst": true, "--comment": true, "-j": true, "--log-prefix": true, "--reject-with": true,
	}
)

// split reads a line as iptables-restore(8) does: words are parted by spaces,
// double quotes hold one together, a backslash takes the next byte as it is.
func split(t *testing.T, text string) []string {
	t.Helper()
	var words []string
	var now strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			t.Fatalf("a backslash in %q", text)
		case c == '"':
			quoted, begun = !quoted, true
		case (c == ' ' || c == '\t') && !quoted:
			if begun {
				words, begun = append(words, now.String()), false
				now.Reset()
			}
		default:
			now.WriteByte(c)
			begun = true
		}
	}
	if quoted {
		t.Fatalf("an open quote in %q", text)
	}
	if begun {
		words = append(words, now.String())
	}
	return words
}

func checkRestore(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "*filter" || lines[len(lines)-1] != "COMMIT" {
		t.Fatalf("it begins with %q and ends with %q", lines[0], lines[len(lines)-1])
	}
	for _, l := range lines[1 : len(lines)-1] {
		w := split(t, l)
		switch {
		case strings.HasPrefix(l, ":") && len(w) == 3 && ownChain.MatchString(w[0][1:]) && w[1] == "-" && w[2] == "[0:0]":
		case (w[0] == "-F" || w[0] == "-X") && len(w) == 2 && ownChain.MatchString(w[1]):
		case w[0] == "-I" && len(w) == 5 && (w[1] == "INPUT" || w[1] == "OUTPUT") && w[2] == "1" && w[3] == "-j" && ownChain.MatchString(w[4]):
		case w[0] == "-D" && len(w) == 4 && (w[1] == "INPUT" || w[1] == "OUTPUT") && w[2] == "-j" && ownChain.MatchString(w[3]):
		case w[0] == "-A" && len(w) > 2 && ownChain.MatchString(w[1]):
			checkRule(t, w[2:])
		default:
			t.Fatalf("the line %q is none of Freshet's", l)
		}
	}
}

// checkRule reads pairs: each option takes one word, but the set, which takes two.
func checkRule(t *testing.T, w []string) {
	t.Helper()
	verdicts := 0
	for i := 0; i < len(w); i += 2 {
		if !options[w[i]] || i+1 >= len(w) {
			t.Fatalf("%q in %q is no option that Freshet uses, or has no value", w[i], w)
		}
		v := w[i+1]
		switch {
		case w[i] == "-j":
			verdicts++
			if !targets[v] && !ownChain.MatchString(v) {
				t.Fatalf("it jumps to %q", v)
			}
		case w[i] == "--comment" || w[i] == "--log-prefix":
			if !labelWord.MatchString(v) {
				t.Fatalf("the text %q", v)
			}
		case !plainWord.MatchString(v) || strings.HasPrefix(v, "-"):
			t.Fatalf("%s has the value %q", w[i], v)
		}
		if w[i] == "--match-set" {
			i++
			if w[i+1] != "src" && w[i+1] != "dst" {
				t.Fatalf("a set is asked for %q", w[i+1])
			}
		}
	}
	if verdicts != 1 {
		t.Fatalf("%d verdicts in %q", verdicts, w)
	}
}

// nftLine is what a rule of the table may look like; strings in it hold no
// quote and no brace.
var nftLine = regexp.MustCompile(`^\t\t(type filter hook (in|out)put priority filter - 10; policy accept;|(flags interval|type ipv[46]_addr|elements = \{ [0-9a-f.:/, ]*( \})?|[0-9a-f.:/]+(,| \})?)|` +
	`(meta nfproto ipv[46] |ip6? [sd]addr [0-9a-f.:/]+ |ip6? [sd]addr @FRESHET-[0-9a-f]{12}-[46] |[io]ifname "[A-Za-z0-9_.*+-]+" |ct state [a-z,]+ |meta l4proto [a-z0-9-]+ |(tcp|udp) [sd]port ([0-9-]+|\{ [0-9, -]+ \}) |icmp(v6)? type [a-z0-9-]+ |limit rate 10/second burst 20 packets )*` +
	`counter (accept|drop|return|jump block-(in|out)-\d+|reject with (tcp reset|icmp(v6)? port-unreachable)|log prefix "freshet:[a-z0-9-]+ ") comment "[A-Za-z0-9][A-Za-z0-9 .,:/_()+=-]*")$`)

func checkNFT(t *testing.T, text string) {
	t.Helper()
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		frame := l == "table inet freshet" && i == 0 || l == "delete table inet freshet" && i == 1 || l == "table inet freshet {" && i == 2 ||
			l == "}" || l == "\t}" || regexp.MustCompile(`^\t(chain (block-)?(in|out)-\d+|set FRESHET-[0-9a-f]{12}-[46]) \{$`).MatchString(l)
		if !frame && !nftLine.MatchString(l) && !regexp.MustCompile(`^[0-9a-f.:/]+(,| \})$`).MatchString(l) {
			t.Fatalf("the line %q is none of Freshet's", l)
		}
	}
}

// FuzzPolicy makes any policy of JSON. Either it is refused, or all that comes
// of it for the tools is of Freshet's own forms: no option, chain or line more.
func FuzzPolicy(f *testing.F) {
	for _, p := range policies {
		data, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, rule := range []string{
		`"name":"a\n-A INPUT -j ACCEPT"`, `"comment":"x\" -j ACCEPT \""`, `"interface":"eth0 -j ACCEPT"`, `"interface":"$(id)"`,
		`"from":["10.0.0.0/8 -j ACCEPT"]`, `"from":["fe80::1%;reboot/128"]`, `"icmp":["8 -j ACCEPT"],"protocol":"icmp"`, `"action":"DOCKER"`,
		`"state":["NEW -j ACCEPT"]`, `"ports":["22 -j ACCEPT"],"protocol":"tcp"`, `"comment":"--jump ACCEPT"`, `"comment":"a\u2028COMMIT"`,
	} {
		f.Add([]byte(`{"in":"pass","out":"pass","rules":[{"name":"a","direction":"in","action":"drop",` + rule + `}]}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8<<10 {
			return
		}
		var p firewall.Policy
		if json.Unmarshal(data, &p) != nil || p.Check() != nil {
			return
		}
		lists := map[string]firewall.Addresses{}
		for _, l := range p.Lists {
			lists[l.Base] = firewall.Addresses(nets("192.0.2.0/24", "2001:db8::/32"))
		}
		before := firewall.Present{Jumps: map[string][]string{"INPUT": {"-j FRESHET-IN-6"}}, Chains: []string{"FRESHET-IN-6"}}
		for _, sets := range []bool{true, false} {
			m := firewall.MaterialOf(lists, sets)
			for _, fam := range firewall.Families() {
				checkRestore(t, firewall.Compile(p, 7, fam, m).Restore(before))
			}
			if sets {
				checkNFT(t, firewall.NFT(p, 7, m))
			}
		}
	})
}

// FuzzAddresses reads any list; what is taken comes back the same.
func FuzzAddresses(f *testing.F) {
	f.Add("192.0.2.1\n198.51.100.0/24 # a comment\n\n; another\n2001:db8::/32\n")
	f.Add("10.0.0.0/7\n")
	f.Add("add FRESHET x\n")
	f.Add("1.2.3.4\r\n::ffff:1.2.3.4\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := iplist.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		a := firewall.AddressesOf(list)
		for i, p := range a {
			if i > 0 && (a[i-1].Contains(p.Addr()) || !a[i-1].Addr().Less(p.Addr())) {
				t.Fatalf("%s follows %s", p, a[i-1])
			}
			if !a.Contains(p.Addr()) {
				t.Fatalf("%s is not found", p)
			}
		}
		again, err := firewall.ReadKept(a.Text())
		if err != nil || len(again) != len(a) {
			t.Fatalf("read back: %d of %d, %v", len(again), len(a), err)
		}
		if len(a.Of(firewall.V4))+len(a.Of(firewall.V6)) != len(a) {
			t.Fatal("the families do not add up")
		}
	})
}
