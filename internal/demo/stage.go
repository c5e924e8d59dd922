package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stage is the temporary folder and what runs in it.
type stage struct {
	ctx       context.Context
	bin, dir  string
	repo, url string
	list      list
	running   []*exec.Cmd
}

func newStage(ctx context.Context, bin string) (*stage, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"freshet", "freshet-publish"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return nil, fmt.Errorf("%w: run make build first", err)
		}
	}
	dir, err := os.MkdirTemp("", "freshet-demo-")
	if err != nil {
		return nil, err
	}
	return &stage{ctx: ctx, bin: bin, dir: dir, repo: filepath.Join(dir, "repo")}, nil
}

// close stops what runs, the last first.
func (s *stage) close(keep bool) error {
	for i := len(s.running) - 1; i >= 0; i-- {
		s.running[i].Process.Signal(syscall.SIGTERM)
		s.running[i].Wait()
	}
	if keep {
		fmt.Printf("everything is in %s\n", s.dir)
		return nil
	}
	return os.RemoveAll(s.dir)
}

func (s *stage) say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

func (s *stage) command(name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(s.ctx, filepath.Join(s.bin, name), args...)
	c.Env = append(os.Environ(),
		"FRESHET_CONFIG="+filepath.Join(s.dir, "freshet.yaml"),
		"FRESHET_STATE_DIR="+filepath.Join(s.dir, "state"),
		"FRESHET_SOCKET="+filepath.Join(s.dir, "run", "agent.sock"),
		"FRESHET_KEYS=")
	return c
}

// show runs a command and prints it with what it says, indented. Paths in the
// temporary folder are shortened.
func (s *stage) show(name string, args ...string) error {
	text := name + " " + strings.Join(args, " ")
	fmt.Printf("   $ %s\n", s.short(text))
	out, err := s.command(name, args...).CombinedOutput()
	for line := range strings.Lines(s.short(string(out))) {
		fmt.Print("     " + line)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

func (s *stage) short(text string) string { return strings.ReplaceAll(text, s.dir+"/", "") }

func (s *stage) freshet(args ...string) error   { return s.show("freshet", args...) }
func (s *stage) publisher(args ...string) error { return s.show("freshet-publish", args...) }

func (s *stage) quietly(args ...string) error {
	c := s.command("freshet-publish", args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return fmt.Errorf("freshet-publish %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}

// publish publishes the list as it was some time ago.
func (s *stage) publish(ago time.Duration) error {
	path, err := s.writeList()
	if err != nil {
		return err
	}
	at := time.Now().Add(-ago).UTC().Format(time.RFC3339)
	return s.publisher("base", s.repo, base, path, "--published", at, "--min-records", "100000")
}

func (s *stage) publishTo(repo string) error {
	path, err := s.writeList()
	if err != nil {
		return err
	}
	return s.quietly("base", repo, base, path)
}

func (s *stage) writeList() (string, error) {
	path := filepath.Join(s.dir, "domains.txt")
	return path, os.WriteFile(path, []byte(s.list.String()), 0o644)
}

// serve starts a web server over a repository and gives its address.
func (s *stage) serve(repo string) (string, error) {
	c := s.command("freshet-publish", "serve", repo, "--listen", "127.0.0.1:0")
	out, err := c.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := c.Start(); err != nil {
		return "", err
	}
	s.running = append(s.running, c)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the web server did not start: %w", err)
	}
	url := strings.TrimSpace(strings.TrimPrefix(line, "listening "))
	fmt.Printf("   $ freshet-publish serve %s\n     %s", s.short(repo), line)
	return url, nil
}

// settings writes freshet.yaml with these sources.
func (s *stage) settings(urls ...string) error {
	var b strings.Builder
	b.WriteString("version: 1\nsources:\n")
	for _, url := range urls {
		fmt.Fprintf(&b, "  - {url: %q, proxy: none}\n", url)
	}
	fmt.Fprintf(&b, "root: %s\nlog: {to: %s}\n", filepath.Join(s.repo, "metadata", "1.root.json"), filepath.Join(s.dir, "agent.log"))
	fmt.Printf("   freshet.yaml:\n")
	for line := range strings.Lines(s.short(b.String())) {
		fmt.Print("     " + line)
	}
	return os.WriteFile(filepath.Join(s.dir, "freshet.yaml"), []byte(b.String()), 0o644)
}

// agent starts the agent and waits until it answers.
func (s *stage) agent() error {
	fmt.Println("   $ freshet agent &")
	c := s.command("freshet", "agent")
	log, err := os.Create(filepath.Join(s.dir, "agent.err"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stderr = log
	if err := c.Start(); err != nil {
		return err
	}
	s.running = append(s.running, c)
	return s.until("the agent did not start", func(st status) bool { return st.Agent && st.ranSince(0) })
}

// reload writes the settings with these sources and waits until the agent has
// read them, and has asked the sources as it then does.
func (s *stage) reload(urls ...string) error {
	var before int64
	if err := s.until("the agent does not answer", func(st status) bool { before = st.Update.Run; return true }); err != nil {
		return err
	}
	if err := s.settings(urls...); err != nil {
		return err
	}
	return s.until("the agent did not read its settings again", func(st status) bool {
		return len(st.Sources) == len(urls) && st.ranSince(before)
	})
}

// status is the part of `freshet status --json` that matters here.
type status struct {
	Agent   bool              `json:"agent"`
	Sources []json.RawMessage `json:"sources"`
	Update  struct {
		Running bool  `json:"running"`
		Run     int64 `json:"run"`
	} `json:"update"`
}

// ranSince says whether an update was begun after run n, and is over.
func (st status) ranSince(n int64) bool { return st.Update.Run > n && !st.Update.Running }

func (s *stage) until(otherwise string, ok func(status) bool) error {
	ctx, stop := context.WithTimeout(s.ctx, 30*time.Second)
	defer stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var st status
		out, err := s.command("freshet", "status", "--json").Output()
		if err == nil && json.Unmarshal(out, &st) == nil && ok(st) {
			return nil
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(s.dir, "agent.err"))
			return fmt.Errorf("%s: %w\n%s", otherwise, context.Cause(ctx), said)
		case <-tick.C:
		}
	}
}
