package agent_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also another user who asks an agent: see crowd.
func TestMain(m *testing.M) {
	if socket := os.Getenv("TEST_CROWD"); socket != "" {
		beCrowd(socket)
		return
	}
	os.Exit(m.Run())
}

// beCrowd holds connections that each follow the events from the first on and
// never read, and has others ask for all that costs work; one line says how many
// were let in, then it goes on until its input ends.
func beCrowd(socket string) {
	n, _ := strconv.Atoi(os.Getenv("TEST_CONNS"))
	in := 0
	for i := range n {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			continue
		}
		paths := []string{"/v1/events?follow=1", "/v1/support", "/v1/events?since=2020-01-01T00:00:00Z", "/v1/status"}
		path := paths[i%len(paths)]
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		first, err := bufio.NewReaderSize(conn, 16).Peek(12)
		if err == nil && string(first) == "HTTP/1.1 200" {
			in++
		}
		if path != paths[0] {
			go func() { // as fast as it is answered
				for {
					conn.SetDeadline(time.Now().Add(time.Minute))
					if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
						return
					}
					if _, err := io.CopyN(io.Discard, conn, 2048); err != nil {
						return
					}
				}
			}()
		}
	}
	fmt.Println(in)
	io.Copy(io.Discard, os.Stdin)
}

// crowd is another user of this machine.
type crowd struct {
	in  int // connections that were answered
	end func()
}

func newCrowd(t *testing.T, w *world, uid, conns int) crowd {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(own)
	c.Env = append(os.Environ(), "TEST_CROWD="+filepath.Join(w.dir, "run", "agent.sock"), fmt.Sprint("TEST_CONNS=", conns))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	c.Dir = "/"
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	end := func() { in.Close(); c.Wait() }
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line))
	return crowd{in: n, end: end}
}

// reachable has other users get to the world's socket, and to this program.
func (w *world) reachable() {
	w.t.Helper()
	if os.Geteuid() != 0 {
		w.t.Skip("to ask as another user takes root")
	}
	own, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(w.dir, "run"), own} {
		for dir := path; dir != "/"; dir = filepath.Dir(dir) {
			if st, err := os.Stat(dir); err == nil && st.Mode().Perm()&0o005 != 0o005 && strings.HasPrefix(dir, os.TempDir()) {
				if err := os.Chmod(dir, st.Mode().Perm()|0o055); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
}

// resident is this process's memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestOtherUsersTogetherNeitherFillTheAgentNorShutRootOut: what they cost has one
// bound, and root is answered all the while.
func TestOtherUsersTogetherNeitherFillTheAgentNorShutRootOut(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as an agent's is: tests may be run with less of it
	w := newWorld(t)
	w.publish("a.example")
	a := w.core()
	s := w.startOf(a).settled()
	w.reachable()
	for i := range 60 { // a log worth following from its beginning
		s.change(http.MethodPost, "/v1/tasks", map[string]any{"name": fmt.Sprint("task ", i), "type": "verify"})
		s.change(http.MethodDelete, fmt.Sprint("/v1/tasks/task%20", i), nil)
	}
	debug.FreeOSMemory()
	before, cpu, began := resident(t), cpuTime(t), time.Now()
	all := 0
	for uid := range 10 {
		all += newCrowd(t, w, 60001+uid, 40).in
	}
	if all == 0 || all > 64 {
		t.Errorf("%d of 400 connections of others are answered", all)
	}
	for range 20 {
		if st := s.status(); len(st.Bases) != 1 {
			t.Fatalf("root gets %+v", st)
		}
	}
	if n := a.Others(); n < all {
		t.Errorf("the supervisor is told of %d callers who are not root, of %d", n, all)
	}
	grown := resident(t) - before
	t.Logf("%d were let in; %d MB more memory; %s of CPU in %s", all, grown>>20, (cpuTime(t) - cpu).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if grown > 60<<20 {
		t.Errorf("the agent grew by %d MB", grown>>20)
	}
}

// TestRootIsAnsweredWithoutADescriptorLeft: spare ones are kept for that, and the
// state is not taken to be damaged.
func TestRootIsAnsweredWithoutADescriptorLeft(t *testing.T) {
	t.Run("none", func(t *testing.T) { answeredWith(t, 0) })
	t.Run("one, for the connection", func(t *testing.T) { answeredWith(t, 1) })
}

func answeredWith(t *testing.T, left int) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	s.HTTP.CloseIdleConnections()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", filepath.Join(w.dir, "run", "agent.sock")) // this end's descriptor is of this process too
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	// One for this end of the connection, none for the agent's.
	few := limit
	few.Cur = uint64(len(open)) // the folder that was being read is closed again
	highest := 0
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			highest = max(highest, fd)
		}
	}
	few.Cur = max(few.Cur, uint64(highest))
	var taken []*os.File
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	for range min(1+left, len(taken)) { // one is for this end
		taken[len(taken)-1].Close()
		taken = taken[:len(taken)-1]
	}
	conn, err = net.Dial("unix", filepath.Join(w.dir, "run", "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for _, f := range taken {
		f.Close()
	}
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.Contains(string(answer), `"state":"up to date"`) {
		t.Errorf("%v: %.400s", err, answer)
	}
}
