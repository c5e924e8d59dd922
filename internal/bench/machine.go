package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine is where and with what was measured.
type machine struct {
	Commit string
	CPU    string
	Cores  int
	Tools  []string // name and version
}

func describe(ctx context.Context) machine {
	m := machine{Commit: commit(ctx), CPU: cpuModel(), Cores: runtime.NumCPU()}
	m.Tools = append(m.Tools, "Go "+strings.TrimPrefix(runtime.Version(), "go"))
	for _, t := range []struct {
		name string
		args []string
	}{
		{"xdelta3", []string{"xdelta3", "-V"}},
		{"zstd", []string{"zstd", "--version"}},
		{"bsdiff", []string{"dpkg-query", "-W", "-f", "${Version}", "bsdiff"}}, // does not say it itself
		{"diff", []string{"diff", "--version"}},
		{"nginx", []string{"nginx", "-v"}},
	} {
		m.Tools = append(m.Tools, t.name+" "+versionOf(ctx, t.args...))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/gabstv/go-bsdiff" {
				m.Tools = append(m.Tools, "go-bsdiff "+strings.TrimPrefix(d.Version, "v"))
			}
		}
	}
	return m
}

// versionOf is the first number with a dot in what a program says.
func versionOf(ctx context.Context, args ...string) string {
	said, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if v := regexp.MustCompile(`\d+(\.\d+)+`).Find(said); err == nil && v != nil {
		return string(v)
	}
	return "(not there, or does not say)"
}

func commit(ctx context.Context) string {
	id, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "(unknown)"
	}
	changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", "*.go", "go.mod").Output()
	if err != nil || len(changed) > 0 {
		return strings.TrimSpace(string(id)) + " and changes not committed"
	}
	return strings.TrimSpace(string(id))
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "(unknown)"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "(unknown)"
}
