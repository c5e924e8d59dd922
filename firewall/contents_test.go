package firewall_test

import (
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
)

func TestASetOfNFTIsReadInWhateverPartsItIsPrinted(t *testing.T) {
	for _, row := range []struct{ name, list, printed, want string }{
		{"as it was given", "192.0.2.1\n198.51.100.0/24\n", "192.0.2.1, 198.51.100.0/24", ""},
		{"neighbours as a range", "192.0.2.4/31\n192.0.2.6\n", "192.0.2.4-192.0.2.6", ""},
		{"neighbours apart", "192.0.2.0/30\n", "192.0.2.0/31,\n\t\t\t     192.0.2.2, 192.0.2.3", ""},
		{"one less", "192.0.2.1\n192.0.2.3\n", "192.0.2.1", "1 missing: 192.0.2.3"},
		{"one for another", "192.0.2.1\n192.0.2.3\n", "192.0.2.1, 192.0.2.5", "1 missing: 192.0.2.3; 1 too much: 192.0.2.5"},
		{"a wider one", "192.0.2.0/25\n", "192.0.2.0/24", "1 missing: 192.0.2.0-192.0.2.127; 1 too much: 192.0.2.0-192.0.2.255"},
		{"of IPv6", "2001:db8::/32\n2001:db9::1\n", "2001:db8::/32, 2001:db9::1", ""},
		{"to the last address", "255.0.0.0/8\n", "255.0.0.0/8", ""},
		{"none", "192.0.2.1\n", "", "1 missing: 192.0.2.1"},
		{"with more than an address", "192.0.2.1\n", "192.0.2.1 timeout 1h", "no address"},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := firewall.ReadAddresses(row.list)
			if err != nil {
				t.Fatal(err)
			}
			elements := ""
			if row.printed != "" {
				elements = "\t\telements = { " + row.printed + " }\n"
			}
			got := firewall.NFTSetDiffers(list, "table inet freshet {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags interval\n"+elements+"\t}\n}\n")
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
}
