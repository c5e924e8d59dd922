package modules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/settings"
)

// YARA is the Kind of programs that use YARA rules. A version is compiled, and
// scans the samples, in processes of their own; its sources or one compiled
// file are delivered. Telling whoever uses the rules is up to the commands of
// the settings.
type YARA struct {
	base     string
	stateDir string
	settings settings.YARA
	timeout  time.Duration
	samples  []sample
	disk     *durable.Disk // nil: the real one
}

func newYARA(b settings.Base, stateDir string) *YARA {
	return &YARA{base: b.Name, stateDir: stateDir, settings: *b.YARA, timeout: time.Duration(b.TryTimeout), samples: samplesOf(b.Samples)}
}

// externals are variables that rules in the field take for given.
var externals = [...]string{"filename", "filepath", "extension", "filetype", "owner"}

// Try compiles the rules of v and scans the samples with them.
func (y *YARA) Try(ctx context.Context, v Version) error {
	return y.compiled(ctx, "try", v.Dir, func(r rules, scratch string) error { return y.scan(ctx, r, scratch) })
}

// Take does the same again: an older version may meet a newer yarac.
func (y *YARA) Take(ctx context.Context, v Version) error { return y.Try(ctx, v) }

// Check finds nothing to ask: no program of YARA keeps running.
func (y *YARA) Check(ctx context.Context, _ Version) error { return ctx.Err() }

// rules are what yara scans with.
type rules struct {
	args []string // of yara
	file *os.File // compiled; nil where there is no yarac
	user *account
}

// compiled compiles the rules in dir and has use do something with them.
// Without yarac it is yara that reads the sources.
func (y *YARA) compiled(ctx context.Context, step, dir string, use func(r rules, scratch string) error) error {
	sources, err := y.sources(dir)
	if err != nil {
		return err
	}
	tmp, remove, err := scratch(filepath.Join(y.stateDir, "tmp"))
	if err != nil {
		return fmt.Errorf("making a folder to compile in: %w", err)
	}
	defer remove()
	// The compiler gets one file to write to, and no folder.
	out, err := durable.OpenNew(filepath.Join(tmp, "rules.yac"), os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	r := rules{args: []string{"-C", out.Name()}, file: out, user: unprivileged(y.settings.User, tmp, dir)}
	if r.user != nil {
		if err := out.Chown(int(r.user.uid), int(r.user.gid)); err != nil {
			return err
		}
	}
	compile := append(append([]string{y.settings.Compiler, "-w"}, sources...), out.Name())
	if _, err := os.Stat(y.settings.Compiler); err != nil {
		r.args, r.file = sources, nil
		compile = append(append([]string{y.settings.Scanner, "-w"}, sources...), out.Name())
	}
	if _, err := y.program(ctx, step, compile, r.user); err != nil {
		return err
	}
	return use(r, tmp)
}

// program runs a program of YARA and gives what it prints. That it says no is
// a veto; that it cannot be run, or to its end, is not.
func (y *YARA) program(ctx context.Context, step string, args []string, user *account) (string, error) {
	out, errs := &firstBytes{}, &lastBytes{}
	p := process{Args: args, Timeout: y.timeout, Out: out, Err: errs, User: user}
	ended, err := p.run(ctx)
	var late *TimeoutError
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.As(err, &late):
		return "", &TimeoutError{Step: step, Program: args[0], After: late.After, Output: errs.String()}
	case ended == nil || ended.ExitCode() < 0:
		return "", fmt.Errorf("running %s (is YARA installed?): %w", args[0], err)
	}
	return "", &CommandError{Step: step, Command: args[:1], Exit: ended.ExitCode(), Output: errs.String(), Reason: err.Error()}
}

// sources are the rules in dir, as arguments of yarac: each file in a namespace
// of its own, so that two may use the same name for a rule.
func (y *YARA) sources(dir string) ([]string, error) {
	files, err := list(dir)
	if err != nil {
		return nil, err
	}
	var args []string
	for _, name := range externals {
		args = append(args, "-d", name+"=x")
	}
	given := len(args)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch strings.ToLower(filepath.Ext(name)) {
		case ".yar", ".yara", ".rules", ".rule":
			args = append(args, strings.ReplaceAll(name, ":", "_")+":"+filepath.Join(dir, name))
		}
	}
	if len(args) == given {
		return nil, &Veto{"yarac", "try", "the version holds no rules: no file ends in .yar or .yara"}
	}
	return args, nil
}

// scan holds yara's verdicts on the samples against the right ones.
func (y *YARA) scan(ctx context.Context, r rules, dir string) error {
	paths, err := copies(y.samples, dir)
	if err != nil {
		return err
	}
	for i, path := range paths {
		args := append(append([]string{y.settings.Scanner, "-w"}, r.args...), path)
		out, err := y.program(ctx, "try", args, r.user)
		if err != nil {
			return err
		}
		rule, _, _ := strings.Cut(out, " ") // "RULE PATH"
		if reason := y.samples[i].wrong(rule); reason != "" {
			return &Veto{"yara", "try", reason}
		}
	}
	return nil
}

func (y *YARA) names() []string { return []string{y.base} }

// stage has the sources delivered, or the one compiled file that stands for
// them.
func (y *YARA) stage(ctx context.Context, dir string, done int) (*staged, error) {
	switch {
	case done > 0:
		return nil, nil
	case !y.settings.Compiled:
		return &staged{y.base, dir}, nil
	}
	to := filepath.Join(y.stateDir, "delivered", y.base+"+compiled")
	err := y.compiled(ctx, "deliver", dir, func(r rules, _ string) error {
		if r.file == nil {
			return fmt.Errorf("there is no %s: set yara.compiled to false", y.settings.Compiler)
		}
		return y.keep(r.file, to)
	})
	if err != nil {
		return nil, fmt.Errorf("compiling: %w", err)
	}
	return &staged{y.base, to}, nil
}

// maxCompiled is the most bytes of compiled rules.
const maxCompiled = 1 << 30

// keep copies compiled rules to the folder that is delivered from, unless they
// are there already. Compiled anew, the same rules are the same bytes.
func (y *YARA) keep(made *os.File, to string) error {
	st, err := made.Stat()
	if err != nil {
		return err
	}
	if st.Size() == 0 || st.Size() > maxCompiled {
		return fmt.Errorf("yarac made a file of %d bytes", st.Size())
	}
	path := filepath.Join(to, y.base+".yac")
	if old, err := os.Open(path); err == nil {
		same, err := equalReaders(io.NewSectionReader(made, 0, st.Size()), old)
		if old.Close(); err == nil && same {
			return nil
		}
	}
	if err := y.disk.MkdirAll(to, 0o755); err != nil {
		return err
	}
	out, err := y.disk.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, io.NewSectionReader(made, 0, st.Size())); err != nil {
		return err
	}
	return out.Commit()
}
