package modules_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/modules"
)

func TestATryFitsTheMemory(t *testing.T) {
	const mib = 1 << 20
	rows := map[string]struct {
		need, alone, available, reload, running int64
		concurrent                              bool
		want                                    string // "": refused
	}{
		"room for two engines":                             {300, 100, 1000, 1000, 300, true, "with all of clamd's bases, then clamd loads it beside"},
		"room, and clamd frees its engine first":           {300, 100, 1000, 1000, 300, false, "with all of clamd's bases: 300 MiB"},
		"no room beside a clamd that loads beside":         {300, 100, 200, 200, 300, true, ""},
		"clamd's own control group has none":               {300, 100, 1000, 200, 300, true, ""},
		"a clamd that does not run needs none":             {300, 100, 1000, 200, 0, true, "with all of clamd's bases: 300 MiB"},
		"room for the version alone":                       {300, 100, 200, 200, 300, false, "without the other bases"},
		"no room for a second engine of any size":          {300, 100, 50, 50, 300, false, "clamd itself is the first to read it"},
		"what is left is less than nothing, and no matter": {300, 100, -50, -50, 300, false, "0 B available"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			got, err := modules.Choose(row.need*mib, row.alone*mib, row.available*mib, row.reload*mib, row.running*mib, row.concurrent)
			if row.want == "" {
				if !errors.Is(err, modules.ErrNoMemory) || modules.IsVeto(err) || !strings.Contains(err.Error(), "ConcurrentDatabaseReload no in /clamd.conf") {
					t.Errorf("%q, error %v", got, err)
				}
				return
			}
			if err != nil || !strings.Contains(got, row.want) {
				t.Errorf("%q, error %v", got, err)
			}
		})
	}
}

func TestTheReloadOfClamdIsReadFromItsSettings(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                 true,
		"ConcurrentDatabaseReload no\n":    false,
		"  ConcurrentDatabaseReload FALSE": false,
		"#ConcurrentDatabaseReload no\n":   true,
		"ConcurrentDatabaseReload no\nConcurrentDatabaseReload yes\n": true,
		"ConcurrentDatabaseReload":                                    true,
	} {
		if got := modules.ConcurrentReload(filepath.Join(tree(t, map[string]string{"c": text}), "c")); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if !modules.ConcurrentReload("/nonexistent") {
		t.Error("without settings it is not clamd's default")
	}
}

func TestVerdictsOfClamscanAreReadByTheirPaths(t *testing.T) {
	out := "Loading: odd\n/t/1: OK\n/t/0: Test.A.UNOFFICIAL FOUND\n/t/2: Empty file\n/t/0x: B FOUND\n"
	got, err := modules.VerdictsOf(out, []string{"/t/0", "/t/1", "/t/2"})
	if err != nil || !slices.Equal(got, []string{"Test.A.UNOFFICIAL", "", ""}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "/t/0: Can't open file ERROR\n", "/t/0 OK\n"} {
		if got, err := modules.VerdictsOf(bad, []string{"/t/0"}); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}
