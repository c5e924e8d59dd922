package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// used reads a process's resident memory in bytes and its CPU time from
// proc(5); zeros where it is gone.
func used(pid int) (memory int64, cpu time.Duration) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if data, err := os.ReadFile(dir + "statm"); err == nil {
		if f := strings.Fields(string(data)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			memory = pages * int64(os.Getpagesize())
		}
	}
	data, err := os.ReadFile(dir + "stat")
	if err != nil {
		return memory, 0
	}
	// The name, which may hold anything, ends with the last parenthesis; utime
	// and stime are the 14th and 15th fields of all.
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(f) < 13 {
		return memory, 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ is 100 on every Linux that Go runs on
	return memory, time.Duration(user+system) * tick
}

// answers asks the local API for its version, and is content with any answer
// of HTTP 200.
func answers(ctx context.Context, socket string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return get(ctx, conn, "freshet", "/v1/version")
}

// endpointAnswers asks a module at its endpoint on this machine, and is content
// with any answer of HTTP 200.
func endpointAnswers(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return fmt.Errorf("endpoint %.80q is not http://127.0.0.1:PORT/PATH", endpoint)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	return get(ctx, conn, u.Host, u.RequestURI())
}

// get reads no more of the answer than its status, and closes conn.
func get(ctx context.Context, conn net.Conn, host, path string) error {
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	head := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(conn, head); err != nil {
		return fmt.Errorf("reading its answer: %w", err)
	}
	if string(head) != "HTTP/1.1 200" {
		return fmt.Errorf("it answers %q", head)
	}
	return nil
}

// strays are processes that came to this one, a subreaper, because who started
// them ended: all its children but those in known.
func strays(known map[int]bool) []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var all []int
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(f); err == nil && !known[pid] {
				all = append(all, pid)
			}
		}
	}
	return all
}

// marked says whether a process was begun with the mark in its environment.
func marked(pid int, mark string) bool {
	data, err := readBounded(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && slices.Contains(strings.Split(string(data), "\x00"), mark)
}
