package clamd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clamd"
)

// serve answers each connection by a function.
func serve(t *testing.T, each func(net.Conn)) clamd.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				each(conn)
			}()
		}
	}()
	return clamd.Client{Socket: path, Timeout: 5 * time.Second}
}

// command reads a command, and the content of an INSTREAM.
func command(t *testing.T, conn net.Conn) (name string, content []byte) {
	t.Helper()
	for one := []byte{1}; one[0] != 0; {
		if _, err := io.ReadFull(conn, one); err != nil {
			t.Errorf("reading the command: %v", err)
			return "", nil
		}
		name += string(one)
	}
	for name == "zINSTREAM\x00" {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			t.Errorf("reading a size: %v", err)
			return name, nil
		}
		n := binary.BigEndian.Uint32(size[:])
		if n == 0 {
			break
		}
		part := make([]byte, n)
		if _, err := io.ReadFull(conn, part); err != nil {
			t.Errorf("reading a chunk: %v", err)
			return name, nil
		}
		content = append(content, part...)
	}
	return name, content
}

func answering(t *testing.T, answer string) clamd.Client {
	return serve(t, func(conn net.Conn) {
		command(t, conn)
		io.WriteString(conn, answer)
	})
}

func TestContentIsSentWholeAndJudged(t *testing.T) {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		want := bytes.Repeat([]byte("x"), size)
		c := serve(t, func(conn net.Conn) {
			if _, got := command(t, conn); !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, want %d", len(got), size)
			}
			io.WriteString(conn, "stream: Test.Name.UNOFFICIAL FOUND\x00")
		})
		v, err := c.Scan(context.Background(), bytes.NewReader(want))
		if err != nil || v.Found != "Test.Name.UNOFFICIAL" {
			t.Errorf("%d bytes: %+v, %v", size, v, err)
		}
	}
}

func TestAnswersThatAreNoVerdictAreErrors(t *testing.T) {
	rows := map[string]string{
		"an error of clamd":            "INSTREAM size limit exceeded. ERROR\x00",
		"an error in scanning":         "stream: Can't allocate memory ERROR\x00",
		"half an answer":               "stream: Eicar FOU",
		"another file":                 "/etc/passwd: OK\x00",
		"a name with spaces":           "stream: a b FOUND\x00",
		"no name":                      "stream:  FOUND\x00",
		"a name without an end":        "stream: " + strings.Repeat("x", 300) + " FOUND\x00",
		"a name that moves the cursor": "stream: \x1b[2J FOUND\x00",
		"more than a clamd says":       strings.Repeat("stream: OK ", 1<<16),
		"an answer of another command": "PONG\x00",
		"an empty answer":              "\x00",
	}
	for name, answer := range rows {
		t.Run(name, func(t *testing.T) {
			v, err := answering(t, answer).Scan(context.Background(), strings.NewReader("x"))
			if err == nil {
				t.Fatalf("verdict %+v", v)
			}
			if whole := strings.HasSuffix(answer, "\x00"); errors.Is(err, clamd.ErrNoVerdict) != whole {
				t.Errorf("error %v", err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\x00") || len(err.Error()) > 1000 {
				t.Errorf("the error is not fit to be shown: %q", err)
			}
		})
	}
}

func TestAnEndWithoutAWordIsNoVerdict(t *testing.T) {
	_, err := answering(t, "").Scan(context.Background(), strings.NewReader("x"))
	if !errors.Is(err, clamd.ErrNoVerdict) {
		t.Errorf("error %v", err)
	}
}

func TestAHungClamdHoldsNobodyUp(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	rows := map[string]func(net.Conn){
		"one that never answers": func(net.Conn) { <-hold },
		"one that answers a byte at a time without end": func(conn net.Conn) {
			for {
				select {
				case <-hold:
					return
				case <-time.After(5 * time.Millisecond):
					if _, err := conn.Write([]byte("x")); err != nil {
						return
					}
				}
			}
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			c := serve(t, row)
			c.Timeout = 100 * time.Millisecond
			_, err := c.Scan(context.Background(), bytes.NewReader(make([]byte, 64<<20))) // more than a socket's buffer
			if err == nil || !strings.Contains(err.Error(), "no answer within 100ms") {
				t.Errorf("error %v", err)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(errors.New("enough"))
			if err := c.Ping(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNobodyListensIsToldApart(t *testing.T) {
	c := answering(t, "PONG\x00")
	if err := c.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	for _, path := range []string{c.Socket + ".none", filepath.Join(filepath.Dir(c.Socket), "stale")} {
		if strings.HasSuffix(path, "stale") {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			l.Close()
		}
		if err := (clamd.Client{Socket: path}).Ping(context.Background()); !errors.Is(err, clamd.ErrAbsent) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestMemoryIsReadFromTheStatistics(t *testing.T) {
	stats := "POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 1  idle 0 max 10 idle-timeout 30\nQUEUE: 0 items\n\tSTATS 0.000005 \n\nMEMSTATS: heap N/A mmap N/A used N/A free N/A releasable N/A pools 1 pools_used 123.120M pools_total %sM\nEND\x00"
	n, err := answering(t, fmt.Sprintf(stats, "123.132")).Memory(context.Background())
	if err != nil || n>>20 != 123 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"-1", "99999999999999999999", "NaN", ""} {
		if n, err := answering(t, fmt.Sprintf(stats, bad)).Memory(context.Background()); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}

func TestTheListenerIsKnown(t *testing.T) {
	pid, err := serve(t, func(net.Conn) {}).Owner(context.Background())
	if err != nil || pid != os.Getpid() {
		t.Errorf("process %d, %v", pid, err)
	}
}

func FuzzVerdict(f *testing.F) {
	f.Add("stream: OK")
	f.Add("stream: Eicar-Test.UNOFFICIAL FOUND")
	f.Add("stream: x ERROR")
	f.Fuzz(func(t *testing.T, answer string) {
		v, err := clamd.ParseVerdict(answer)
		if err == nil && answer != "stream: OK" && answer != "stream: "+v.Found+" FOUND" {
			t.Errorf("%q is %+v", answer, v)
		}
	})
}
