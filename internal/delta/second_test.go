package delta_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestSecondApplier reads the vectors by testdata/apply.py, which was written
// from docs/design.md and shares no code, and no language, with the package.
func TestSecondApplier(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"python3", "zstd"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		const hint = "the second applier takes python3 and zstd, which are not here: apt install python3 zstd"
		if os.Getenv("CI") != "" {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) {
			dir := t.TempDir()
			old, patch := filepath.Join(dir, "old"), filepath.Join(dir, "delta")
			for path, data := range map[string][]byte{old: v.old(t), patch: unhex(t, v.Delta)} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.CommandContext(t.Context(), "python3", "-B", "testdata/apply.py", old, patch, strconv.Itoa(v.Size)).Output()
			if err != nil {
				t.Fatalf("%v: %s", err, stderrOf(err))
			}
			if sum := sha256.Sum256(out); hex.EncodeToString(sum[:]) != v.SHA256 {
				t.Errorf("the outcome, %d bytes, has hash %x", len(out), sum)
			}
		})
	}
}

func stderrOf(err error) []byte {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.Stderr
	}
	return nil
}
