// Package launch starts the service's supervisor from the version that is
// installed, and another if that does not come up: a broken supervisor cannot
// keep a host from updating. It is small, uses the standard library alone, and
// is part of the package that an operator installed, so that no update of
// Freshet's own replaces it.
//
//	good generation's ─3 starts without READY─► previous one's ─likewise─► the package's
//
// A version on trial is never started here: the good one's supervisor starts it
// (see package supervisor), so after a boot or a crash the good one runs first.
package launch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Place is where things are.
type Place struct {
	Dir     string // state folder
	Runtime string // folder that a boot empties
	Package string // the program that the package brought
}

// mostStarts is how often a program is started without saying that it is up.
const mostStarts = 3

const maxFile = 16 << 20

// Candidates are the programs to try, in their order, each once: those of the
// good and the previous generation, then the package's.
func (p Place) Candidates() []string {
	var all []string
	add := func(program string) {
		for _, has := range all {
			if has == program {
				return
			}
		}
		all = append(all, program)
	}
	var state struct{ Good, Previous int }
	if unseal(filepath.Join(p.Dir, "state.json"), &state) == nil {
		for _, n := range []int{state.Good, state.Previous} {
			if program, ok := p.slot(n); ok {
				add(program)
			}
		}
	}
	if p.Package != "" {
		add(p.Package)
	}
	return all
}

// slot is the program of the agent in generation n.
func (p Place) slot(n int) (string, bool) {
	var g struct {
		Modules map[string]struct {
			Dir   string
			Start []string
		}
	}
	path := filepath.Join(p.Dir, "generations", fmt.Sprintf("%06d", n), "generation.json")
	if n <= 0 || unseal(path, &g) != nil {
		return "", false
	}
	a, ok := g.Modules["agent"]
	name := "freshet"
	if len(a.Start) > 0 {
		name = a.Start[0]
	}
	if !ok || !filepath.IsLocal(a.Dir) || !filepath.IsLocal(name) {
		return "", false
	}
	return filepath.Join(p.Dir, "modules", "agent", a.Dir, name), true
}

// unseal reads a file of the state, whose content has its SHA-256 beside it.
func unseal(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	var s struct {
		SHA256  string
		Content json.RawMessage
	}
	var content bytes.Buffer
	if err := errors.Join(json.Unmarshal(data, &s), json.Compact(&content, s.Content)); err != nil {
		return err
	}
	if sum := sha256.Sum256(content.Bytes()); hex.EncodeToString(sum[:]) != s.SHA256 {
		return errors.New("it is damaged")
	}
	return json.Unmarshal(content.Bytes(), v)
}

// starts is the file that counts them: a number and the program's path.
func starts(runtime string) string { return filepath.Join(runtime, "starts") }

// Clear is called once a supervisor is up, or ends in order.
func Clear(runtime string) { os.Remove(starts(runtime)) }

// begun is which candidate was started last, and how often in a row.
func begun(runtime string) (program string, n int) {
	data, err := os.ReadFile(starts(runtime))
	if err != nil || len(data) > 8192 {
		return "", 0
	}
	count, program, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	n, _ = strconv.Atoi(count)
	return program, n
}

// Next is which of the candidates to start now, and which start of it in a row
// this is: the one of last time, or the one after it where that was started too
// often without being up. The last one is started for ever.
func Next(candidates []string, last string, n int) (i, start int) {
	for i, c := range candidates {
		if c != last {
			continue
		}
		if n < mostStarts || i == len(candidates)-1 {
			return i, n + 1
		}
		return i + 1, 1
	}
	return 0, 1
}

// Exec replaces this process by the supervisor. It returns only if no program
// can be started.
func Exec(p Place, args []string) {
	if os.MkdirAll(filepath.Dir(p.Runtime), 0o755); os.Mkdir(p.Runtime, 0o755) == nil {
		_ = os.Chmod(p.Runtime, 0o755) // whatever the umask: the socket is for every user
	}
	all := p.Candidates()
	last, n := begun(p.Runtime)
	first, start := Next(all, last, n)
	for i := first; i < len(all); i++ {
		// What cannot be counted is started all the same.
		_ = os.WriteFile(starts(p.Runtime), fmt.Appendf(nil, "%d %s\n", start, all[i]), 0o644)
		if i > 0 {
			fmt.Fprintf(os.Stderr, "freshet-launch: %s does not come up: starting %s\n", all[i-1], all[i])
		}
		env := append(os.Environ(), "FRESHET_SLOT="+all[i], "FRESHET_PACKAGE="+p.Package)
		err := syscall.Exec(all[i], append([]string{all[i]}, args...), env)
		fmt.Fprintf(os.Stderr, "freshet-launch: %s: %v\n", all[i], err)
		start = 1
	}
	Clear(p.Runtime) // all again, at the next start
}
