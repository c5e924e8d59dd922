package eventlog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/freshet/freshet/internal/event"
)

// Bounds of one event: texts may come from a hostile peer.
const (
	maxText  = 2 << 10
	maxField = 1 << 10
	maxEvent = 8 << 10 // as a line
)

// shorten gives an event whose line stays within maxEvent, and what it says
// within one line of a terminal's own letters.
func shorten(e event.Event) event.Event {
	e.Text, e.Hint = clip(e.Text, maxText), clip(e.Hint, maxText/2)
	fields := e.Fields
	e.Fields = nil
	left := maxEvent - len(line(e)) - 64
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		name, value := clip(k, 64), clip(fields[k], maxField)
		if left -= len(line([2]string{name, value})); left < 0 {
			break
		}
		if e.Fields == nil {
			e.Fields = map[string]string{}
		}
		e.Fields[name] = value
	}
	return e
}

// clip cuts s to most bytes and replaces what is no text.
func clip(s string, most int) string {
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	if cut {
		s += "…"
	}
	return s
}

// line is v as one line of JSON.
func line(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // six bytes for one
	if enc.Encode(v) != nil {
		return nil // a time out of range is all that could be
	}
	return b.Bytes()
}

// checkpoint is the first line of a file: the newest event of each code, in
// order. Text and hint come from the table again, and fields are left out
// where the line would be longer than most bytes.
func checkpoint(last map[event.Code]event.Event, most int64) []byte {
	if len(last) == 0 {
		return nil
	}
	events := slices.SortedFunc(maps.Values(last), func(a, b event.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range events {
		events[i].Text, events[i].Hint = "", ""
	}
	line := marshalLast(events)
	if int64(len(line)) > most {
		for i := range events {
			events[i].Fields = nil
		}
		line = marshalLast(events)
	}
	return line
}

func marshalLast(events []event.Event) []byte {
	return line(struct {
		Last []event.Event `json:"last"`
	}{events})
}
