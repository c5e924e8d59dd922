package firewall_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/freshet/freshet/firewall"
)

func TestThePortsOfSSHDAreThoseOfItsSettings(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       []uint16
	}{
		{"no file", "", []uint16{22}},
		{"others", "Port 2222\nport=2022\n", []uint16{22, 2222, 2022}},
		{"a comment", "#Port 2222\nPortable 1\n", []uint16{22}},
		{"with an address", "ListenAddress 192.0.2.1:2200\nListenAddress [2001:db8::1]:2201\nListenAddress 192.0.2.2\n", []uint16{22, 2200, 2201}},
		{"nonsense", "Port 99999\nPort x\nPort\nListenAddress ]\n", []uint16{22}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if row.text != "" {
				if err := os.WriteFile(filepath.Join(dir, "a.conf"), []byte(row.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := firewall.SSHPorts(filepath.Join(dir, "*.conf")); !slices.Equal(got, row.want) {
				t.Errorf("%v, want %v", got, row.want)
			}
		})
	}
}
