package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/freshet/freshet/internal/delta"
)

// files are those of one tool on one pair; patch and out are its own.
type files struct{ old, new, patch, out string }

func (f files) in(dir string) files {
	return files{f.old, f.new, filepath.Join(dir, "patch"), filepath.Join(dir, "out")}
}

// When a tool is run.
const (
	always = iota
	slow   // on large images only on a few pairs
	onlyAll
)

// large is the size of image from which slow tools are held back.
const large = 32 << 20

// tool makes a delta, or what stands for one, and applies it.
type tool struct {
	name  string
	needs []string // programs
	when  int
	make  func(context.Context, meter, files) (usage, string, error) // the string is a remark
	apply func(context.Context, meter, files) (usage, error)
}

// missing names a program that the tool needs and that is not there.
func (t tool) missing() string {
	for _, p := range t.needs {
		if _, err := exec.LookPath(p); err != nil {
			return p
		}
	}
	return ""
}

const ours = "freshet"

func freshet() tool {
	return tool{
		name: ours,
		make: func(ctx context.Context, m meter, f files) (usage, string, error) {
			var st delta.Stats
			u, err := m.own(ctx, &st, "make", "auto", f.old, f.new, f.patch)
			return u, st.Matcher, err
		},
		apply: applyOurs,
	}
}

func applyOurs(ctx context.Context, m meter, f files) (usage, error) {
	st, err := os.Stat(f.new)
	if err != nil {
		return usage{}, err
	}
	return m.own(ctx, nil, "apply", f.old, f.patch, fmt.Sprint(st.Size()), f.out)
}

// hashAlone is our hash matcher, where more is tried by default.
func hashAlone() tool {
	return tool{
		name: "hash matcher",
		make: func(ctx context.Context, m meter, f files) (usage, string, error) {
			u, err := m.own(ctx, nil, "make", "hash", f.old, f.new, f.patch)
			return u, "", err
		},
		apply: applyOurs,
	}
}

// peers are what people use today. The names are the columns of the tables.
func peers() []tool {
	return []tool{
		{
			name: "xdelta3 -9", needs: []string{"xdelta3"},
			// -A: without the file names, which would depend on this machine.
			make:  command("xdelta3", "-e", "-9", "-f", "-A", "-s", "OLD", "NEW", "PATCH"),
			apply: undo("xdelta3", "-d", "-f", "-s", "OLD", "PATCH", "OUT"),
		}, {
			name: "zstd --patch-from", needs: []string{"zstd"},
			make:  command("zstd", "-q", "-f", "-19", "--long=31", "--patch-from=OLD", "NEW", "-o", "PATCH"),
			apply: undo("zstd", "-q", "-f", "-d", "--long=31", "--memory=2048MB", "--patch-from=OLD", "PATCH", "-o", "OUT"),
		}, {
			name: "bsdiff", needs: []string{"bsdiff", "bspatch"}, when: slow,
			make:  command("bsdiff", "OLD", "NEW", "PATCH"),
			apply: undo("bspatch", "OLD", "OUT", "PATCH"),
		}, {
			name: goBsdiff, when: slow,
			make: func(ctx context.Context, m meter, f files) (usage, string, error) {
				u, err := m.own(ctx, nil, "go-bsdiff", f.old, f.new, f.patch)
				return u, "", err
			},
			apply: func(ctx context.Context, m meter, f files) (usage, error) {
				return m.own(ctx, nil, "go-bspatch", f.old, f.patch, f.out)
			},
		}, {
			name: "diff + zstd -19", needs: []string{"diff", "zstd"}, make: lineDiff,
		}, {
			name: "zstd -19 (full)", needs: []string{"zstd"}, when: slow,
			make:  command("zstd", "-q", "-f", "-19", "NEW", "-o", "PATCH"),
			apply: undo("zstd", "-q", "-f", "-d", "PATCH", "-o", "OUT"),
		}, {
			name: "xz -9e (full)", needs: []string{"xz"}, when: slow,
			make: func(ctx context.Context, m meter, f files) (usage, string, error) {
				return toFile(ctx, m, f.patch, nil, "xz", "-9e", "-k", "-c", f.new)
			},
			apply: func(ctx context.Context, m meter, f files) (usage, error) {
				u, _, err := toFile(ctx, m, f.out, nil, "xz", "-d", "-c", "--format=xz", f.patch)
				return u, err
			},
		},
	}
}

const goBsdiff = "go-bsdiff"

// command runs a program with OLD, NEW, PATCH and OUT filled in.
func command(name string, args ...string) func(context.Context, meter, files) (usage, string, error) {
	run := undo(name, args...)
	return func(ctx context.Context, m meter, f files) (usage, string, error) {
		u, err := run(ctx, m, f)
		return u, "", err
	}
}

func undo(name string, args ...string) func(context.Context, meter, files) (usage, error) {
	return func(ctx context.Context, m meter, f files) (usage, error) {
		known := map[string]string{
			"OLD": f.old, "NEW": f.new, "PATCH": f.patch, "OUT": f.out, "--patch-from=OLD": "--patch-from=" + f.old,
		}
		var filled []string
		for _, a := range args {
			if path, ok := known[a]; ok {
				a = path
			}
			filled = append(filled, a)
		}
		return m.run(ctx, nil, nil, name, filled...)
	}
}

func toFile(ctx context.Context, m meter, path string, ok []int, name string, args ...string) (usage, string, error) {
	out, err := os.Create(path)
	if err != nil {
		return usage{}, "", err
	}
	defer out.Close()
	u, err := m.run(ctx, out, ok, name, args...)
	return u, "", err
}

// lineDiff keeps the smallest of diff's compact formats, compressed. A format
// that cannot carry the change (diff -e, where the last line has no end) is
// left out.
func lineDiff(ctx context.Context, m meter, f files) (usage, string, error) {
	var used usage
	kept := ""
	best := int64(-1)
	for _, format := range []string{"--normal", "-n", "-e"} {
		lines, packed := f.out+format, f.patch+format
		u, _, err := toFile(ctx, m, lines, []int{1}, "diff", "-a", format, f.old, f.new)
		if err != nil {
			continue
		}
		v, err := m.run(ctx, nil, nil, "zstd", "-q", "-f", "-19", lines, "-o", packed)
		if err != nil {
			return used, "", err
		}
		st, err := os.Stat(packed)
		if err != nil {
			return used, "", err
		}
		os.Remove(lines)
		if best < 0 || st.Size() < best {
			best, kept, used = st.Size(), format, u.add(v)
			if err := os.Rename(packed, f.patch); err != nil {
				return used, "", err
			}
		}
	}
	if best < 0 {
		return used, "", fmt.Errorf("no format of diff can carry the change")
	}
	return used, kept, nil
}
