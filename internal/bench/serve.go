package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/freshet/freshet/publish"
)

// exchange is one request as the server saw it: the bytes are those of the
// body it sent.
type exchange struct {
	Path   string
	Status int
	Bytes  int64
}

// server serves a repository and counts.
type server struct {
	name  string
	url   string
	seen  func() ([]exchange, error) // all exchanges since the start
	close func()
}

// since gives the want exchanges after the first skip, once the server has
// taken note of them: it may do so after the client has its answer.
func (s *server) since(ctx context.Context, skip int, want int) ([]exchange, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := s.seen()
		if err != nil {
			return nil, err
		}
		if len(all) >= skip+want {
			return all[skip:], nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s saw %d requests, its client made %d", s.name, len(all)-skip, want)
		}
	}
}

// serveOurs serves as freshet-publish serve does.
func serveOurs(dir string) (*server, error) {
	files, err := publish.Handler(dir)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards list
	var list []exchange
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c := &counted{ResponseWriter: w, status: http.StatusOK}
		files.ServeHTTP(c, q)
		mu.Lock()
		defer mu.Unlock()
		list = append(list, exchange{q.URL.Path, c.status, c.bytes})
	}))
	return &server{
		name: "freshet-publish serve", url: srv.URL, close: srv.Close,
		seen: func() ([]exchange, error) {
			mu.Lock()
			defer mu.Unlock()
			return append([]exchange(nil), list...), nil
		},
	}, nil
}

type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counted) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.bytes += int64(n)
	return n, err
}

const nginxConf = `daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log %[1]s/errors;
%[4]s
events {}
http {
	log_format counts '$status $body_bytes_sent $request_uri';
	access_log %[1]s/access counts;
	client_body_temp_path %[1]s/t1;
	proxy_temp_path %[1]s/t2;
	fastcgi_temp_path %[1]s/t3;
	uwsgi_temp_path %[1]s/t4;
	scgi_temp_path %[1]s/t5;
	server {
		listen %[2]s;
		root %[3]s;
	}
}
`

// serveNginx serves the same folder by nginx, as it comes.
func serveNginx(ctx context.Context, repo, dir string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 { // its workers could not enter a temporary folder
		user = "user root;"
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, addr, repo, user), 0o600); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "nginx", "-c", conf, "-e", filepath.Join(dir, "errors"))
	cmd.Stderr = &said
	// By a kill its workers would be left behind.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{
		name: "nginx", url: "http://" + addr,
		close: func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() },
		seen:  func() ([]exchange, error) { return readAccess(filepath.Join(dir, "access")) },
	}
	if err := answers(ctx, addr); err != nil {
		s.close()
		return nil, fmt.Errorf("starting nginx: %w: %s", err, tail(said.Bytes()))
	}
	return s, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until something listens.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func readAccess(path string) ([]exchange, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []exchange
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e exchange
		if _, err := fmt.Sscan(lines.Text(), &e.Status, &e.Bytes, &e.Path); err != nil {
			return nil, fmt.Errorf("the access log of nginx: %w", err)
		}
		list = append(list, e)
	}
	return list, lines.Err()
}
