package modules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet/freshet/modules"
)

func TestRoomOfADeliveryIsWhatItsCopiesTakeAtTheirPeak(t *testing.T) {
	to, state := t.TempDir(), t.TempDir()
	engine := func(mode uint32) *modules.Engine {
		return &modules.Engine{Base: "rules", Delivery: &modules.Delivery{To: to, Mode: mode, StateDir: state}}
	}
	if r, ok := engine(0).Room(1000, false); ok {
		t.Errorf("links take room: %+v", r)
	}
	if r, ok := (&modules.Engine{Base: "rules"}).Room(1000, false); ok {
		t.Errorf("nothing is delivered, and takes room: %+v", r)
	}
	copies := engine(0o600)
	if r, ok := copies.Room(1000, true); !ok || r.To != to || r.Need != 1000 || r.Free <= 0 || r.Dev == 0 {
		t.Errorf("a first delivery: %+v, %v", r, ok)
	}
	files := map[string]string{}
	for i := range 10 {
		files[fmt.Sprintf("%d/rules.yar", i)] = strings.Repeat("a", 100)
	}
	dir := tree(t, files)
	if err := deliverTo(copies, dir); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what       string
		size, need int64
		tree       bool
	}{
		{"a tree that grows by 50 bytes", 1050, 50 + 200, true},
		{"a tree that grows a lot", 10_000, 9000 + 200, true},
		{"a tree that shrinks", 700, 200, true},
		{"a tree smaller than its largest file was, twice", 150, 150, true},
		{"one file lies beside the one before", 10_000, 10_000, false},
	} {
		if r, ok := copies.Room(row.size, row.tree); !ok || r.Need != row.need {
			t.Errorf("%s: %+v, want %d", row.what, r, row.need)
		}
	}
	gone := &modules.Engine{Base: "rules", Delivery: &modules.Delivery{To: to + "/none", Mode: 0o600, StateDir: state}}
	if r, ok := gone.Room(1000, true); ok {
		t.Errorf("a folder that is not there: %+v", r)
	}
}
