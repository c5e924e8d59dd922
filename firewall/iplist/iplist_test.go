package iplist_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/freshet/freshet/firewall/iplist"
)

func read(t *testing.T, text string) iplist.List {
	t.Helper()
	l, err := iplist.Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLinesAsListsHaveThem(t *testing.T) {
	for _, row := range []struct {
		name, line string
		want       string // networks
		reason     iplist.Reason
	}{
		{"an address", "192.0.2.1", "192.0.2.1/32", ""},
		{"one of IPv6", "2001:DB8::1", "2001:db8::1/128", ""},
		{"a network", "198.51.100.0/24", "198.51.100.0/24", ""},
		{"with bits beyond", "198.51.100.77/24", "198.51.100.0/24", ""},
		{"with a comment", "192.0.2.1 # seen", "192.0.2.1/32", ""},
		{"with another", "192.0.2.0/24 ; SBL1", "192.0.2.0/24", ""},
		{"with a third", "192.0.2.0/24 // x", "192.0.2.0/24", ""},
		{"with spaces before", "  \t192.0.2.1  ", "192.0.2.1/32", ""},
		{"a comment of 70 kB", "192.0.2.1 #" + strings.Repeat("x", 70000), "192.0.2.1/32", ""},
		{"a line end of another system", "192.0.2.1\r", "192.0.2.1/32", ""},
		{"a byte order mark", "\xef\xbb\xbf192.0.2.1", "192.0.2.1/32", ""},
		{"a count", "192.0.2.1\t15", "192.0.2.1/32", ""},
		{"counts", "192.0.2.0/24 15 3", "192.0.2.0/24", ""},
		{"a range", "192.0.2.1-192.0.2.4", "192.0.2.1/32 192.0.2.2/31 192.0.2.4/32", ""},
		{"a range with spaces, and a count", "192.0.2.0 - 192.0.2.255 7", "192.0.2.0/24", ""},
		{"a range of one", "192.0.2.1-192.0.2.1", "192.0.2.1/32", ""},
		{"a range of IPv6", "2001:db8::-2001:db8::ffff", "2001:db8::/112", ""},
		{"an address written as of IPv6", "::ffff:192.0.2.1", "192.0.2.1/32", ""},
		{"a network written so", "::ffff:192.0.2.0/120", "192.0.2.0/24", ""},
		{"a range written so", "::ffff:192.0.2.0-192.0.2.1", "192.0.2.0/31", ""},
		{"to the last address", "254.0.0.0-254.255.255.255", "254.0.0.0/8", ""},

		{"too wide", "224.0.0.0/3", "", iplist.TooWide},
		{"everything", "0.0.0.0/0", "", iplist.TooWide},
		{"everything of IPv6", "::/0", "", iplist.TooWide},
		{"wide of IPv6", "2000::/8", "", iplist.TooWide},
		{"all that is written so", "::ffff:0:0/95", "", iplist.TooWide},
		{"a wide range", "10.0.0.0-13.255.255.255", "", iplist.TooWide},
		{"a range of everything", "0.0.0.0-255.255.255.255", "", iplist.TooWide},
		{"multicast", "224.0.0.0/4", "", iplist.Special},
		{"this host", "127.0.0.1", "", iplist.Special},
		{"no host", "0.0.0.0", "", iplist.Special},
		{"no host of IPv6", "::", "", iplist.Special},
		{"neighbours", "fe80::1%eth0", "", iplist.Special},
		{"addresses that ran together", "176.221.42.3254.174.140.223", "", iplist.NoAddress},
		{"two addresses", "192.0.2.1 192.0.2.2", "", iplist.Several},
		{"an address and a mask", "192.0.2.0 255.255.255.0", "", iplist.Several},
		{"leading zeros", "192.0.02.010", "", iplist.Zeros},
		{"zeros in all", "010.000.000.001", "", iplist.Zeros},
		{"a range backwards", "192.0.2.4-192.0.2.1", "", iplist.Backwards},
		{"a range over families", "192.0.2.4-2001:db8::1", "", iplist.Backwards},
		{"a range of networks", "192.0.2.0/24-192.0.3.0/24", "", iplist.NoAddress},
		{"half a range", "192.0.2.1-", "", iplist.NoAddress},
		{"a last number", "192.0.2.1-9", "", iplist.NoAddress},
		{"a name", "example.org", "", iplist.NoAddress},
		{"words behind", "192.0.2.1 allow", "", iplist.NoAddress},
		{"a column", "192.0.2.1,15", "", iplist.NoAddress},
		{"a prefix too long", "192.0.2.1/33", "", iplist.NoAddress},
		{"a mask", "192.0.2.0/255.255.255.0", "", iplist.NoAddress},
		{"a rule", "-A INPUT", "", iplist.NoAddress},
		{"a command", "add x y", "", iplist.NoAddress},
		{"a zero byte", "192.0.2.1\x00", "", iplist.NoAddress},
		{"70 kB", strings.Repeat("x", 70000), "", iplist.TooLong},
		{"an address behind 70 kB of spaces", strings.Repeat(" ", 70000) + "192.0.2.1", "", iplist.TooLong},
	} {
		t.Run(row.name, func(t *testing.T) {
			for place, text := range map[string]string{"at the end": row.line, "in the middle": row.line + "\n198.51.100.9\n"} {
				l := read(t, text)
				networks := l.Networks
				if place == "in the middle" {
					if len(networks) == 0 || networks[len(networks)-1] != netip.MustParsePrefix("198.51.100.9/32") {
						t.Fatalf("%s: the line behind is lost: %v", place, networks)
					}
					networks = networks[:len(networks)-1]
				}
				if got := strings.Trim(fmt.Sprint(networks), "[]"); got != row.want {
					t.Errorf("%s: %q, want %q", place, got, row.want)
				}
				switch {
				case row.reason == "" && l.Left != 0:
					t.Errorf("%s: left out: %v", place, l.Bad)
				case row.reason != "" && (l.Left != 1 || l.Bad[0].Reason != row.reason || l.Bad[0].Line != 1):
					t.Errorf("%s: left out: %v, want %s", place, l.Bad, row.reason)
				}
			}
		})
	}
}

func TestWhatSaysNothingIsNoLine(t *testing.T) {
	l := read(t, "\xef\xbb\xbf\r\n# head\n\n ; x\n//\n#"+strings.Repeat("-", 70000)+"\n")
	if l.Lines != 0 || l.Left != 0 || l.Refused() != nil {
		t.Errorf("%+v", l)
	}
}

func TestAListIsRefusedWhereItsShareOfBadLinesIsTooLarge(t *testing.T) {
	for _, row := range []struct {
		good, bad int
		refused   bool
	}{
		{256, 1, false}, {1, 1, false}, {0, 1, true}, {1, 2, true}, {0, 0, false},
		{100, 10, false}, {100, 11, true}, {10, 10, false}, {9, 10, true},
		{9900, 100, false}, {9900, 101, true}, {0, 500, true},
	} {
		l := read(t, strings.Repeat("192.0.2.1\n", row.good)+strings.Repeat("<p>\n", row.bad))
		err := l.Refused()
		if (err != nil) != row.refused {
			t.Errorf("%d good lines and %d bad ones: %v", row.good, row.bad, err)
		}
		if row.refused && !strings.Contains(err.Error(), fmt.Sprintf(`%d of %d lines are bad: line %d: "<p>": no address`, row.bad, row.good+row.bad, row.good+1)) {
			t.Errorf("%d good lines and %d bad ones: %v", row.good, row.bad, err)
		}
		if len(l.Bad) > 20 || l.Left != row.bad {
			t.Errorf("%d bad lines are %d, of which %d are kept", row.bad, l.Left, len(l.Bad))
		}
	}
}

func TestBadLinesAreNamed(t *testing.T) {
	l := read(t, "a\nb\n192.0.2.1\nc\nd\xff\n\ne"+strings.Repeat("x", 100))
	want := `line 1: "a": no address and no network; line 2: "b": no address and no network; line 4: "c": no address and no network; and 2 more`
	if l.Words() != want {
		t.Errorf("%s\nwant %s", l.Words(), want)
	}
	if l.Bad[3].Text != "d?" || l.Bad[4].Line != 7 || len(l.Bad[4].Text) != 48 {
		t.Errorf("%+v", l.Bad)
	}
}

func TestAReaderThatFailsIsNoEndOfAList(t *testing.T) {
	broken := errors.New("broken")
	if _, err := iplist.Read(iotest.TimeoutReader(strings.NewReader(strings.Repeat("192.0.2.1\n", 10000)))); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("in the middle: %v", err)
	}
	if _, err := iplist.Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("at once: %v", err)
	}
}

// FuzzRead reads any bytes: each line is a network, a bad line or nothing, in
// whatever portions they come, and no network is one that a list may not block.
func FuzzRead(f *testing.F) {
	f.Add("\xef\xbb\xbf192.0.2.1\r\n198.51.100.0/24 # a comment\n\n; another\n2001:db8::/32\n")
	f.Add("224.0.0.0/3\n176.221.42.3254.174.140.223\n010.1.1.1\n")
	f.Add("192.0.2.1-192.0.2.200\n192.0.2.1 - 192.0.2.3 4\n::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n")
	f.Add("0.0.0.1-255.255.255.254\n2001:db8::1-3fff::\n")
	f.Add("::ffff:1.2.3.4\n::ffff:0:0/96\n::ffff:0.0.0.0-255.255.255.255\nfe80::1%eth0/64\n")
	f.Add("::/20\n::1/128\n::/127\n255.0.0.0/8\n")
	f.Add("1.2.3.4\t15\n1.2.3.4 5.6.7.8\n1.2.3.4-\n-\n- - -\n/\n1.2.3.4/\n")
	f.Add(strings.Repeat("x", 1024) + "#\n" + strings.Repeat("x", 1023) + "#\n" + strings.Repeat(" ", 5000) + "1.2.3.4\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := iplist.Read(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if l.Left > l.Lines || len(l.Bad) > l.Left || l.Lines > strings.Count(text, "\n")+1 || l.Left == l.Lines && len(l.Networks) > 0 || l.Left < l.Lines && len(l.Networks) == 0 {
			t.Fatalf("the counts do not add up: %+v", l)
		}
		for _, p := range l.Networks {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" || p.Addr().IsMulticast() || p.Bits() > 120 && (p.Addr().IsLoopback() || p.Addr().IsUnspecified()) ||
				p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16 {
				t.Fatalf("%s is to be blocked", p)
			}
		}
		again, err := iplist.Read(iotest.OneByteReader(strings.NewReader(text)))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(l) {
			t.Fatalf("in portions of a byte: %v, %v\nnot %v", again, err, l)
		}
	})
}
