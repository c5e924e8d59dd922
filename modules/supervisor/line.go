package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// maxMessage bounds a message, in bytes.
const maxMessage = 4 << 20

// sendTime is how long the other end has to take a message.
const sendTime = 10 * time.Second

// Message is one line of JSON between a supervisor and an agent. Fields are
// added and never renamed: the two ends may be of different versions.
type Message struct {
	ID     int64           `json:"id,omitempty"` // an answer is wanted
	Re     int64           `json:"re,omitempty"` // the answer to that ID
	Do     string          `json:"do,omitempty"`
	Error  string          `json:"error,omitempty"`
	Raced  bool            `json:"raced,omitempty"` // the error is rollback.ErrChanged
	Every  int64           `json:"every,omitempty"` // milliseconds, of take: between two beats at most
	Report *Report         `json:"report,omitempty"`
	Was    *rollback.State `json:"was,omitempty"`
	Is     *rollback.State `json:"is,omitempty"`
	Event  *event.Event    `json:"event,omitempty"`
	Checks []Check         `json:"checks,omitempty"`
	Others int             `json:"others,omitempty"` // of the answer to health: callers who are not root, since the one before

	Generation int  `json:"generation,omitempty"` // of go-back
	From       int  `json:"from,omitempty"`       // of its answer
	To         int  `json:"to,omitempty"`
	None       bool `json:"none,omitempty"` // the error is rollback.ErrNoGeneration

	Force bool     `json:"force,omitempty"` // of go-back: also where that removes something
	Lost  []string `json:"lost,omitempty"`  // of its answer: what that removes; with an error, why it was refused
}

// What is asked or told.
const (
	doReady   = "ready"   // agent: it has loaded what it needs
	doTake    = "take"    // supervisor: it is the agent now
	doServing = "serving" // agent: it answers
	doBeat    = "beat"    // agent: its main loop turns
	doSwitch  = "switch"  // agent: replace the state Was by Is
	doHealth  = "health"  // supervisor: how is it
	doTell    = "tell"    // supervisor: log this event
)

// Report is what an agent says of itself when it is ready.
type Report struct {
	Version string `json:"version"`
	Support string `json:"support,omitempty"` // whom an operator may ask
}

// Check is the outcome of one check of health.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text,omitempty"` // what is wrong

	Module string `json:"module,omitempty"` // whose health it is; "": the agent's, or that of all together

	Loading bool `json:"-"` // it is not OK because the module does not listen yet: that is no failure, nor health
}

// line is one end of the connection.
type line struct {
	conn net.Conn

	mu    sync.Mutex // guards what follows, and writes
	last  int64
	waits map[int64]chan Message
	err   error // why it ended
}

func newLine(conn net.Conn) *line { return &line{conn: conn, waits: map[int64]chan Message{}} }

var errLineEnded = errors.New("the line to the other end is gone")

// read hands each message that is no answer to take, until the line ends.
func (l *line) read(take func(Message)) error {
	in := bufio.NewReaderSize(l.conn, 16<<10)
	err := func() error {
		for {
			m, err := readMessage(in)
			if err != nil {
				return err
			}
			if m.Re == 0 {
				take(m)
				continue
			}
			l.mu.Lock()
			c := l.waits[m.Re]
			delete(l.waits, m.Re)
			l.mu.Unlock()
			if c != nil {
				c <- m
			}
		}
	}()
	l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errLineEnded
	for id, c := range l.waits {
		close(c)
		delete(l.waits, id)
	}
	return err
}

func readMessage(in *bufio.Reader) (Message, error) {
	var m Message
	data, err := readLine(in)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return m, fmt.Errorf("reading a message: %w", err)
	}
	return m, nil
}

func readLine(in *bufio.Reader) ([]byte, error) {
	var data []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(data)+len(part) > maxMessage {
			return nil, fmt.Errorf("a message has more than %d bytes", maxMessage)
		}
		data = append(data, part...)
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// send writes a message.
func (l *line) send(m Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(m)
}

func (l *line) write(m Message) error {
	if l.err != nil {
		return l.err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	if n, err := l.conn.Write(append(data, '\n')); err != nil {
		l.err = errLineEnded
		l.conn.Close() // half a message cannot be taken back
		return fmt.Errorf("sending a message (%d bytes went): %w", n, err)
	}
	return nil
}

// ask sends a message and waits for its answer. An answer that tells an error
// is one.
func (l *line) ask(ctx context.Context, m Message) (Message, error) {
	c := make(chan Message, 1)
	l.mu.Lock()
	l.last++
	m.ID = l.last
	l.waits[m.ID] = c
	err := l.write(m)
	if err != nil {
		delete(l.waits, m.ID)
	}
	l.mu.Unlock()
	if err != nil {
		return Message{}, err
	}
	select {
	case a, ok := <-c:
		switch {
		case !ok:
			return a, errLineEnded
		case a.Raced:
			return a, rollback.ErrChanged
		case a.Error != "":
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.waits, m.ID)
		l.mu.Unlock()
		return Message{}, ctx.Err()
	}
}

// answer replies to m with a.
func (l *line) answer(m, a Message, err error) {
	if m.ID == 0 {
		return
	}
	a.Re = m.ID
	if err != nil {
		a.Error, a.Raced = err.Error(), errors.Is(err, rollback.ErrChanged)
	}
	_ = l.send(a) // who asked sees the line end
}

var _ io.Closer = (*line)(nil)

// Close ends the line.
func (l *line) Close() error { return l.conn.Close() }
