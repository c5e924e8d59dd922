// Package archtest holds the packages to their floors.
package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/freshet/freshet/"

// floors is the plan: a package imports only lower floors.
var floors = map[string]int{
	"internal/durable": 0, "internal/delta": 0, "internal/event": 0, "internal/clock": 0, "internal/launch": 0, "internal/command": 0,
	"internal/clamd": 0, "firewall/iplist": 0, "firewall": 1, "internal/trust": 1, "internal/settings": 2, "internal/eventlog": 1,
	"internal/api": 1, "internal/source": 1, "rollback": 1,
	"bases": 2, "modules": 3, "modules/supervisor": 2,
	"updater": 4, "publish": 5, "publish/form": 3, "publish/feed": 4,
	"internal/licence": 1, "agent": 5,
	"internal/schedule": 3, "internal/metrics": 2, "cmd/freshet": 6, "cmd/freshet-launch": 6, "cmd/freshet-publish": 6,
	"internal/durable/crashtest": 1, "internal/trust/trusttest": 2, "internal/trust/conformance": 6, "internal/systemtest": 6, "internal/bench": 6, "internal/demo": 6,
}

func TestPackagesImportOnlyLowerFloors(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		checkFloor(t, p.ImportPath, p.Imports)
	}
	if seen < len(floors)/2 {
		t.Errorf("go list found %d packages", seen)
	}
}

// supervisorMay is what the supervisor may import besides the standard library:
// the less it does, the less can break what takes back everything else.
var supervisorMay = []string{
	module + "rollback", module + "internal/durable", module + "internal/event", module + "internal/clock", module + "internal/command",
	"golang.org/x/sys/unix",
}

func checkSupervisor(t *testing.T, imports []string) {
	t.Helper()
	for _, imp := range imports {
		first, _, _ := strings.Cut(imp, "/")
		if strings.Contains(first, ".") && !slices.Contains(supervisorMay, imp) {
			t.Errorf("the supervisor imports %s", imp)
		}
	}
}

func checkFloor(t *testing.T, path string, imports []string) {
	t.Helper()
	name := strings.TrimPrefix(path, module)
	if name == "modules/supervisor" {
		checkSupervisor(t, imports)
	}
	floor, ok := floors[name]
	if !ok {
		if name != "internal/archtest" {
			t.Errorf("%s stands on no floor: add it to the plan", name)
		}
		return
	}
	for _, imp := range imports {
		below, ours := strings.CutPrefix(imp, module)
		if !ours {
			continue
		}
		if f, ok := floors[below]; !ok || f >= floor {
			t.Errorf("%s (floor %d) imports %s (floor %d)", name, floor, below, f)
		}
	}
}
