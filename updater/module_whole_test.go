package updater_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/updater"
)

// program is a small Go program with a web server in it, so that it is as large
// as real ones.
const program = `package main

import (
	"fmt"
	"net/http"
)

var version string

func main() {
	fmt.Println("engine", version)
	if version == "" {
		_ = http.ListenAndServe("127.0.0.1:0", nil)
	}
%s}
`

// TestARealProgramIsPublishedFetchedAsADeltaAndRuns goes the whole way: two
// builds of a Go program, the publisher, HTTP, the agent's core, the slot.
func TestARealProgramIsPublishedFetchedAsADeltaAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds programs")
	}
	w := newWorld(t)
	dir := t.TempDir()
	more := ""
	for _, v := range []string{"1.0.0", "1.1.0"} {
		folder := filepath.Join(dir, v)
		main := filepath.Join(folder, "src", "main.go")
		if err := os.MkdirAll(filepath.Dir(main), 0o755); err != nil {
			t.Fatal(err)
		}
		about := "name: engine\nversion: " + v + "\nplatform: linux/amd64\nprograms: [bin/engine]\nstart: [bin/engine]\n"
		for path, data := range map[string]string{main: fmt.Sprintf(program, more), filepath.Join(folder, "module.yaml"): about} {
			if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		more = "\tfor i := range 3 {\n\t\tfmt.Println(\"more\", i)\n\t}\n"
		c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+v, "-o", filepath.Join(folder, "bin/engine"), main)
		c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.RemoveAll(filepath.Join(folder, "src")); err != nil {
			t.Fatal(err)
		}
		done := w.publishFolder(folder)
		res := w.update(updater.Updated, policy("dev", named("engine", "")))
		t.Logf("%s: %d bytes, full %d, deltas %+v; fetched %d in %d requests", v, done.Size, done.Full, done.Deltas, res.Bytes, res.Requests)
		w.judge(true)
		slot := filepath.Join(w.dir, "state/modules/engine", w.slot("engine").Dir, "bin/engine")
		out, err := exec.Command(slot).Output()
		if err != nil || !strings.HasPrefix(string(out), "engine "+v+"\n") {
			t.Fatalf("%q, %v", out, err)
		}
		same, err := os.ReadFile(filepath.Join(folder, "bin/engine"))
		if err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(slot); err != nil || string(is) != string(same) {
			t.Fatalf("the slot's program is not the one that was built: %v", err)
		}
		if v == "1.1.0" && (len(done.Deltas) != 1 || res.Bytes*4 > done.Full) {
			t.Errorf("%d bytes were fetched, the full image has %d", res.Bytes, done.Full)
		}
	}
}
