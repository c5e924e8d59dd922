//go:build system

package systemtest_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// publisher is a repository, made and kept by the real freshet-publish.
type publisher struct {
	t    *testing.T
	kind string // of build
	dir  string
}

func newPublisher(t *testing.T, kind string) *publisher {
	t.Helper()
	p := &publisher{t, kind, folder(t)}
	p.run("init", p.repo(), "--keys", filepath.Join(p.dir, "keys"))
	return p
}

func (p *publisher) repo() string { return filepath.Join(p.dir, "repo") }

func (p *publisher) command(args ...string) *exec.Cmd {
	return exec.Command(program(p.kind, "freshet-publish"), args...)
}

func (p *publisher) run(args ...string) string {
	p.t.Helper()
	c := p.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		p.t.Fatalf("freshet-publish %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// release publishes content as the next version of a base.
func (p *publisher) release(name, content string) {
	p.t.Helper()
	p.run("base", p.repo(), name, p.file(name, content))
}

// file keeps content as a file to publish.
func (p *publisher) file(name, content string) string {
	path := filepath.Join(p.dir, "in", name+".txt")
	write(p.t, path, content)
	return path
}

// verify has the repository read back, and what that prints checked by
// sha256sum. It gives the number of files.
func (p *publisher) verify() int {
	p.t.Helper()
	sums := p.run("verify", p.repo())
	c := exec.Command("sha256sum", "--quiet", "--strict", "-c", "-")
	c.Dir, c.Stdin = p.repo(), strings.NewReader(sums)
	if out, err := c.CombinedOutput(); err != nil {
		p.t.Fatalf("sha256sum -c: %v\n%s", err, out)
	}
	return strings.Count(sums, "\n")
}

// serve has freshet-publish serve the repository and gives the URL.
func (p *publisher) serve() string {
	p.t.Helper()
	d := start(p.t, p.command("serve", p.repo(), "--listen", "127.0.0.1:0"))
	url := ""
	poll(p.t, 10*time.Second, "freshet-publish serve listens", func() bool {
		line, _, whole := strings.Cut(d.output.String(), "\n")
		url = strings.TrimPrefix(line, "listening ")
		return whole
	})
	return url
}

// nginx has nginx serve the repository and gives the URL.
func (p *publisher) nginx() string {
	p.t.Helper()
	nginx := needsProgram(p.t, "nginx", "nginx-light")
	dir := folder(p.t)
	address := freeAddress(p.t)
	write(p.t, dir+"/nginx.conf", fmt.Sprintf(`
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		root %[3]s;
	}
}
`, dir, address, p.repo()))
	d := start(p.t, exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", dir+"/nginx.conf"))
	poll(p.t, 10*time.Second, "nginx listens", func() bool {
		if d.hasEnded() {
			p.t.Fatalf("nginx: %v\n%s", d.err, d.output.String())
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return "http://" + address
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// root is the root of trust that agents are given.
func (p *publisher) root() []byte {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.repo(), "metadata", "1.root.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

// records are n lines; from version to version one in a hundred changes.
func records(version, n int) string {
	var b strings.Builder
	for i := range n {
		v := 0
		if i%97 == version%97 {
			v = version
		}
		fmt.Fprintf(&b, "%08x.%d.example\n", uint32(i)*2654435761, v)
	}
	return b.String()
}
