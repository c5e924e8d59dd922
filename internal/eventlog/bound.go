package eventlog

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/freshet/freshet/internal/event"
)

// Bounds of one event: texts may come from a hostile peer.
const (
	maxText   = 2 << 10
	maxField  = 1 << 10
	maxFields = 24
)

func shorten(e event.Event) event.Event {
	e.Text, e.Hint = clip(e.Text, maxText), clip(e.Hint, maxText)
	if e.Fields == nil {
		return e
	}
	fields := make(map[string]string, len(e.Fields))
	for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
		if len(fields) == maxFields {
			break
		}
		fields[clip(k, 64)] = clip(e.Fields[k], maxField)
	}
	e.Fields = fields
	return e
}

func clip(s string, most int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
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
	line, err := json.Marshal(struct {
		Last []event.Event `json:"last"`
	}{events})
	if err != nil {
		return nil // times out of range alone could; the log then begins without
	}
	return append(line, '\n')
}
