package event_test

import (
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/event"
)

func TestEachCodeStandsOnceInTheTable(t *testing.T) {
	seen := map[event.Code]bool{}
	for _, k := range event.Table {
		if seen[k.Code] {
			t.Errorf("%s stands twice", k.Code)
		}
		seen[k.Code] = true
		if k.Text == "" || strings.HasSuffix(k.Text, ".") {
			t.Errorf("%s has the text %q", k.Code, k.Text)
		}
		if k.Severity != event.Info && k.Hint == "" {
			t.Errorf("%s is a %s and does not say what to do", k.Code, k.Severity)
		}
	}
}

func TestFieldsAreFilledInOnceAndNotAgain(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	e := event.New(at, event.SourceFailed, map[string]string{"source": "{error}", "error": "no {source}"})
	if want := "source {error} failed: no {source}"; e.Text != want {
		t.Errorf("%q, want %q", e.Text, want)
	}
	if e.Time.Location() != time.UTC || e.Time.Nanosecond() != 0 {
		t.Errorf("time %v", e.Time)
	}
}

func TestMessageIDsAreFixedAndEachTheOnlyOne(t *testing.T) {
	if got := event.MessageID(event.AgentStarted); got != "8bdbbdb5dc5a41b4b1ace7cdcb3a42bf" {
		t.Errorf("AgentStarted has %s: searches that people saved find it no more", got)
	}
	seen := map[string]event.Code{}
	for _, k := range event.Table {
		id := event.MessageID(k.Code)
		if other, ok := seen[id]; ok || len(id) != 32 {
			t.Errorf("%s and %s have the ID %s", k.Code, other, id)
		}
		seen[id] = k.Code
	}
}
