package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/freshet/freshet/internal/api"
)

// exit is an exit code that speaks for itself: nothing is printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// report prints err, as one JSON object if asked to, and gives its exit code.
func report(w io.Writer, ctx context.Context, asJSON bool, err error) int {
	if err == nil {
		return api.ExitDone
	}
	var silent exit
	if errors.As(err, &silent) {
		return int(silent)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &api.Error{Code: api.Interrupted, Text: "interrupted"}
	}
	e := api.AsError(err)
	if asJSON {
		// The object that the agent's API answers with; a result stays alone on
		// standard output.
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.Encode(map[string]any{"error": map[string]any{"code": e.Code, "text": e.Text, "hint": e.Hint}})
		return api.MeaningOf(e.Code).Exit
	}
	fmt.Fprintf(w, "freshet: error: %s\n", oneLine(e.Text))
	if e.Hint != "" {
		fmt.Fprintf(w, "freshet: hint: %s\n", oneLine(e.Hint))
	}
	return api.MeaningOf(e.Code).Exit
}

// oneLine keeps what a peer said from looking like lines of our own, or from
// steering the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			return '�'
		}
		return r
	}, strings.TrimSpace(s))
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
