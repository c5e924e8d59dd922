package modules_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/modules"
)

// TestDeliveryIsNotLedAstray delivers into folders that links lead to.
func TestDeliveryIsNotLedAstray(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root has links of others to follow")
	}
	const stranger = 65534
	rows := map[string]struct {
		plant   func(t *testing.T, dir string) (to string)
		refused bool
	}{
		"root's own link is followed": {func(t *testing.T, dir string) string {
			link(t, filepath.Join(dir, "real"), filepath.Join(dir, "link"), 0)
			return filepath.Join(dir, "link")
		}, false},
		"a relative one too": {func(t *testing.T, dir string) string {
			link(t, "x/../real", filepath.Join(dir, "link"), 0)
			return filepath.Join(dir, "link")
		}, false},
		"a stranger's link to root's folder is not": {func(t *testing.T, dir string) string {
			link(t, filepath.Join(dir, "real"), filepath.Join(dir, "x/link"), stranger)
			return filepath.Join(dir, "x/link")
		}, true},
		"nor a relative one": {func(t *testing.T, dir string) string {
			link(t, "../real", filepath.Join(dir, "x/link"), stranger)
			return filepath.Join(dir, "x/link")
		}, true},
		"nor a stranger's link in a folder of root": {func(t *testing.T, dir string) string {
			link(t, "real", filepath.Join(dir, "link"), stranger)
			return filepath.Join(dir, "link")
		}, true},
		"nor one on the way": {func(t *testing.T, dir string) string {
			link(t, dir, filepath.Join(dir, "x/link"), stranger)
			return filepath.Join(dir, "x/link/real")
		}, true},
		"nor one that leads to itself": {func(t *testing.T, dir string) string {
			link(t, "link", filepath.Join(dir, "link"), 0)
			return filepath.Join(dir, "link")
		}, true},
		"nor a file": {func(t *testing.T, dir string) string {
			write(t, dir, map[string]string{"file": ""})
			return filepath.Join(dir, "file")
		}, true},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"real", "x"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chown(filepath.Join(dir, "x"), 0, 0); err != nil {
				t.Fatal(err)
			}
			to := row.plant(t, dir)
			e := &modules.Engine{Base: "list", Delivery: &modules.Delivery{To: to, StateDir: t.TempDir()}}
			err := deliverTo(e, tree(t, map[string]string{"list.txt": "x"}))
			if (err != nil) != row.refused {
				t.Errorf("error %v", err)
			}
			_, err = os.Stat(filepath.Join(dir, "real/list.txt"))
			if (err != nil) != row.refused {
				t.Errorf("the file is there: %v", err == nil)
			}
		})
	}
	t.Run("the error says whose it is", func(t *testing.T) {
		dir := t.TempDir()
		link(t, "/etc", filepath.Join(dir, "link"), stranger)
		e := &modules.Engine{Base: "list", Delivery: &modules.Delivery{To: filepath.Join(dir, "link"), StateDir: t.TempDir()}}
		err := deliverTo(e, tree(t, map[string]string{"list.txt": "x"}))
		if err == nil || !strings.Contains(err.Error(), "user 65534") {
			t.Errorf("error %v", err)
		}
	})
}

// link makes a link that belongs to a user; so does its folder, if not dir.
func link(t *testing.T, target, path string, uid int) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
	if filepath.Base(filepath.Dir(path)) == "x" {
		if err := os.Chown(filepath.Dir(path), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
}
