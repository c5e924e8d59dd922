package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// maxAnswer bounds an answer, and a line of a stream.
const maxAnswer = 16 << 20

// Client speaks to an agent. Its errors are [*Error] wherever the agent
// answered, and where none did.
type Client struct {
	HTTP *http.Client
}

// Dial gives a client for the agent that listens on socket. It does not
// connect yet. Who listens must be root or the caller: anyone else has taken
// the socket's place.
func Dial(socket string) *Client {
	d := net.Dialer{Timeout: 5 * time.Second}
	return &Client{HTTP: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, &unreachable{socket, err}
			}
			if peer, known := CallerOf(Peer(ctx, conn)); known && peer.UID != 0 && peer.UID != os.Geteuid() {
				conn.Close()
				return nil, &unreachable{socket, fmt.Errorf("user %d listens there, who is neither root nor you", peer.UID)}
			}
			return conn, nil
		},
		DisableCompression: true,
	}}}
}

// Local gives a client for a handler in this process.
func Local(h http.Handler, c Caller) *Client {
	return &Client{HTTP: &http.Client{Transport: &inMemory{handler: h, caller: c}}}
}

type unreachable struct {
	socket string
	err    error
}

func (e *unreachable) Error() string { return fmt.Sprintf("no agent answers at %s", e.socket) }
func (e *unreachable) Unwrap() error { return e.err }

// Get reads the value at path into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.Do(ctx, http.MethodGet, path, nil, out)
}

// Do sends in (nil: no body) and reads the answer into out (nil: dropped).
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	return nil
}

// Follow calls each with every line of the stream at path until the stream or
// ctx ends, or each returns an error.
func (c *Client) Follow(ctx context.Context, path string, each func(line []byte) error) error {
	res, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxAnswer)
	for lines.Scan() {
		if err := each(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &Error{Code: Unreachable, Text: fmt.Sprintf("the agent went away: %v", err)}
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := c.HTTP.Do(req)
	var away *unreachable
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &away):
		return nil, &Error{Code: Unreachable, Text: fmt.Sprintf("%v: %v", away, cause(away.err))}
	default:
		return nil, &Error{Code: Unreachable, Text: fmt.Sprintf("speaking to the agent: %v", cause(err))}
	}
	if res.StatusCode < http.StatusBadRequest {
		return res, nil
	}
	defer res.Body.Close()
	return nil, readFailure(res)
}

func readFailure(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, MaxRequest))
	var f Failure
	if err := json.Unmarshal(data, &f); err != nil || f.Error.Code == "" {
		return &Error{Code: Internal, Text: fmt.Sprintf("the agent answers with status %d", res.StatusCode)}
	}
	return &f.Error
}

// cause is the innermost error: what is around it names sockets and methods
// that mean nothing to an operator.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
