package firewall_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

func sealedText(content string) string {
	return fmt.Sprintf(`{"sha256":"%x","content":%s}`, sha256.Sum256([]byte(content)), content)
}

// TestFilesThatCannotBeReadStay has each file of the firewall withheld by the disk,
// or written by a newer version: no rule is changed for it, and no file.
func TestFilesThatCannotBeReadStay(t *testing.T) {
	const (
		state = `{"format":1,"last":1,"current":1}`
		set   = `{"number":1,"lists":[{"base":"list","sha256":"abc"}]}`
	)
	newer := func(content string) string {
		return sealedText(strings.Replace(content, "{", `{"format":2,"min_version":"3.1.0",`, 1))
	}
	outside := func(string) string { return `{"format":2,"min_version":"3.1.0"}` }
	for _, row := range []struct {
		name  string
		is    func(content string) string
		read  func(path string) error
		stays bool
	}{
		{"whole", sealedText, nil, false},
		{"the disk does not give them", sealedText, func(string) error { return unix.EIO }, true},
		{"a newer version wrote them", newer, nil, true},
		{"a newer version wrote them otherwise", outside, nil, true},
		{"damaged", func(string) string { return "{" }, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{
				"state.json":       row.is(strings.Replace(state, `"format":1,`, "", 1)),
				"sets/000001.json": row.is(set),
				"untold.json":      row.is(`[{"code":"state-damaged"}]`),
				"lists/abc":        "192.0.2.1\n",
			}
			if !row.stays {
				files["state.json"] = row.is(state)
			}
			if row.name == "a newer version wrote them" { // an array has no place for a format
				files["untold.json"] = outside("")
			}
			for name, text := range files {
				os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700)
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var told []event.Code
			fw := &firewall.Firewall{Dir: dir, Disk: &durable.Disk{Read: row.read}, Emit: func(c event.Code, _ map[string]string) { told = append(told, c) }}
			_, err := fw.State()
			if durable.Lasting(err) != row.stays || row.name == "whole" && err != nil {
				t.Errorf("the state: %v", err)
			}
			if row.stays && os.Geteuid() == 0 {
				if _, err := fw.Keep(t.Context(), firewall.Want{Enabled: true, Automatic: true}); !durable.Lasting(err) {
					t.Errorf("it goes on without its state: %v", err)
				}
			}
			err = fw.Prune(firewall.State{Format: 1, Last: 1, Current: 1})
			if durable.Lasting(err) != row.stays || !row.stays && err != nil {
				t.Errorf("it prunes by a set that it cannot read: %v", err)
			}
			fw.KeepUntold(event.FirewallFailed)
			if !row.stays {
				return
			}
			for name, text := range files {
				if data, err := os.ReadFile(filepath.Join(dir, name)); string(data) != text {
					t.Errorf("%s was %s and is %q, %v", name, text, data, err)
				}
			}
			if len(told) > 0 {
				t.Errorf("it says %q", told)
			}
			var is *durable.NewerError
			if errors.As(err, &is) && is.Version != "3.1.0" {
				t.Errorf("it does not say which version reads it: %v", err)
			}
		})
	}
}
