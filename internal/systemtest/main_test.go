//go:build system

package systemtest_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programsEnv names the folder that TestMain built the programs into.
const programsEnv = "FRESHET_TEST_PROGRAMS"

func TestMain(m *testing.M) {
	code, err := build(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemtest:", err)
		code = 1
	}
	os.Exit(code)
}

// build makes the programs twice, as they are released and with what the tests
// need, and runs the tests.
func build(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "freshet-system-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Other users run them too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	for kind, tags := range map[string]string{released: "", tagged: "crashpoints,testclock"} {
		c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", tags,
			"-o", filepath.Join(dir, kind)+"/", "github.com/freshet/freshet/cmd/freshet", "github.com/freshet/freshet/cmd/freshet-publish")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building: %w\n%s", err, out)
		}
	}
	if err := os.Setenv(programsEnv, dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// Kinds of build.
const (
	released = "released"
	tagged   = "tagged" // with crash points and a clock that can be moved
)

// program is the path of a program built for the tests.
func program(kind, name string) string {
	return filepath.Join(os.Getenv(programsEnv), kind, name)
}

// missing ends the test, for a part that is not there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatal("missing: " + reason)
	}
	t.Skip("missing: " + reason)
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root: run make system as root")
	}
}

// needsProgram looks up a program that a Debian package brings.
func needsProgram(t *testing.T, name, debianPackage string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	missing(t, "%s: apt install %s", name, debianPackage)
	return ""
}
