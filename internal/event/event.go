// Package event holds the one table of events: what an operator can be told.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Severity is how much an event matters.
type Severity string

// Severities in rising order.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Error    Severity = "error"
	Critical Severity = "critical"
)

// Code names an event. Codes are stable: tools match on them.
type Code string

// Event is one thing that happened.
type Event struct {
	Seq      int64             `json:"seq"` // rises by 1, never reused
	Time     time.Time         `json:"time"`
	Code     Code              `json:"code"`
	Severity Severity          `json:"severity"`
	Text     string            `json:"text"`
	Hint     string            `json:"hint,omitempty"` // what to do
	Fields   map[string]string `json:"fields,omitempty"`
}

// Kind is a row of the table.
type Kind struct {
	Code     Code
	Severity Severity
	Text     string // may name fields as {field}
	Hint     string
}

// New makes the event of a code; {field} in text and hint is replaced. It has
// no sequence number yet.
func New(at time.Time, code Code, fields map[string]string) Event {
	k := kindOf(code)
	return Event{
		Time: at.UTC().Truncate(time.Millisecond), Code: code, Severity: k.Severity,
		Text: fill(k.Text, fields), Hint: fill(k.Hint, fields), Fields: fields,
	}
}

// MessageID is the MESSAGE_ID of the code in the systemd journal, fixed for
// good: 128 bits of the SHA-256 of its name, as a random UUID (RFC 9562, version
// 4) without dashes, see sd-id128(3).
func MessageID(c Code) string {
	sum := sha256.Sum256([]byte("freshet event " + c))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return hex.EncodeToString(id)
}
