// Package clamd speaks with a ClamAV daemon by its local socket.
//
// It knows the commands PING, RELOAD, STATS and INSTREAM in their z form, each
// on a connection of its own: clamd(8). A command ends with a zero byte, and so
// does the answer. INSTREAM is followed by chunks, each after its size in four
// bytes, the highest first; one of no size ends them:
//
//	zINSTREAM\0  0000 1000 …4096 bytes…  0000 0003 …3 bytes…  0000 0000
//	stream: OK\0   stream: NAME FOUND\0   … ERROR\0
//
// What answers is not trusted: answers are bounded, and every exchange has its
// time.
package clamd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	defaultTimeout = 30 * time.Second
	maxAnswer      = 64 << 10
	maxName        = 256
	chunk          = 64 << 10
)

var (
	// ErrAbsent says that nobody listens.
	ErrAbsent = errors.New("clamd is not running")

	// ErrNoVerdict says that clamd answers, and says nothing of what it was
	// given to scan, as one without an engine does.
	ErrNoVerdict = errors.New("clamd gives no verdict")
)

// Client speaks with the clamd at a socket.
type Client struct {
	Socket  string
	Timeout time.Duration // of an exchange; default 30 s
}

// Ping expects an answer. A clamd that has lost its engine answers too.
func (c Client) Ping(ctx context.Context) error {
	_, err := c.expect(ctx, "PING", "PONG")
	return err
}

// Reload asks for the signatures to be read anew. That goes on after the
// answer; clamd forgets what it is asked while it is reading already.
func (c Client) Reload(ctx context.Context) error {
	_, err := c.expect(ctx, "RELOAD", "RELOADING")
	return err
}

func (c Client) expect(ctx context.Context, command, want string) (string, error) {
	answer, err := c.exchange(ctx, command, nil)
	if err == nil && answer != want {
		err = fmt.Errorf("clamd answers %s with %s", command, quote(answer))
	}
	return answer, err
}

// Memory is what the signatures of all its engines take, in bytes: two while
// it is reading them anew.
func (c Client) Memory(ctx context.Context) (int64, error) {
	answer, err := c.exchange(ctx, "STATS", nil)
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`pools_total (\d{1,9}(?:\.\d{1,6})?)M`).FindStringSubmatch(answer)
	if m == nil {
		return 0, fmt.Errorf("clamd tells no memory: %s", quote(answer))
	}
	mib, err := strconv.ParseFloat(m[1], 64)
	return int64(mib * (1 << 20)), err
}

// Verdict is what clamd says of content: the name of what it found, or "".
type Verdict struct{ Found string }

// Scan has content scanned. Any error means that there is no verdict; see
// ErrNoVerdict.
func (c Client) Scan(ctx context.Context, content io.Reader) (Verdict, error) {
	answer, err := c.exchange(ctx, "INSTREAM", content)
	if err != nil {
		return Verdict{}, err
	}
	return parseVerdict(answer)
}

func parseVerdict(answer string) (Verdict, error) {
	said, ok := strings.CutPrefix(answer, "stream: ")
	if said == "OK" && ok {
		return Verdict{}, nil
	}
	name, found := strings.CutSuffix(said, " FOUND")
	odd := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
	if !ok || !found || name == "" || len(name) > maxName || odd {
		return Verdict{}, fmt.Errorf("%w but %s", ErrNoVerdict, quote(answer))
	}
	return Verdict{Found: name}, nil
}

// exchange sends a command, and content after it, and gives the answer.
func (c Client) exchange(ctx context.Context, command string, content io.Reader) (string, error) {
	limit := c.Timeout
	if limit <= 0 {
		limit = defaultTimeout
	}
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	conn, err := c.dial(limited)
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(limited, func() { conn.SetDeadline(time.Unix(1, 0)) })()
		var answer string
		if answer, err = talk(conn, command, content); err == nil {
			return answer, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case limited.Err() != nil:
		err = fmt.Errorf("no answer within %s: %w", limit, os.ErrDeadlineExceeded)
	}
	return "", fmt.Errorf("asking clamd at %s for %s: %w", c.Socket, command, err)
}

func (c Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrAbsent
	}
	return conn, err
}

func talk(conn net.Conn, command string, content io.Reader) (string, error) {
	_, sent := conn.Write([]byte("z" + command + "\x00"))
	if sent == nil && content != nil {
		if err := send(conn, content); err != nil {
			var failed *readError
			if errors.As(err, &failed) {
				return "", err
			}
			sent = err // clamd may have said why before it closed
		}
	}
	answer, err := receive(conn)
	if err != nil {
		return "", errors.Join(err, sent)
	}
	return answer, nil
}

// readError says that the content, not the connection, failed.
type readError struct{ error }

func send(conn net.Conn, content io.Reader) error {
	buf := make([]byte, 4+chunk)
	for {
		n, err := io.ReadFull(content, buf[4:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return &readError{err}
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		if _, e := conn.Write(buf[:4+n]); e != nil || n == 0 {
			return e
		}
	}
}

func receive(conn net.Conn) (string, error) {
	data := make([]byte, 0, 512)
	for {
		n, err := conn.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if end := bytes.IndexByte(data, 0); end >= 0 {
			return string(data[:end]), nil
		}
		switch {
		case err != nil && len(data) == 0 && (err == io.EOF || errors.Is(err, syscall.ECONNRESET)):
			return "", ErrNoVerdict
		case err == io.EOF:
			return "", fmt.Errorf("the answer breaks off: %s", quote(string(data)))
		case err != nil:
			return "", err
		case len(data) >= maxAnswer:
			return "", fmt.Errorf("an answer of more than %d bytes", maxAnswer)
		}
		if len(data) == cap(data) {
			data = append(data, make([]byte, len(data))...)[:len(data)]
		}
	}
}

// Owner is the process that listens: clamd, or systemd on its behalf.
func (c Client) Owner(ctx context.Context) (pid int, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(e, err); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

func quote(s string) string {
	const most = 200
	return strconv.QuoteToASCII(s[:min(len(s), most)])
}
