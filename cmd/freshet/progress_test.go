package main

import (
	"io"
	"os"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

func TestProgressToAPipeIsALineAPhase(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := newShown(w, false)
	for _, p := range []api.Progress{
		{Phase: "refresh"},
		{Phase: "fetch", Base: "hosts", Step: 1, Steps: 2, Done: 0, Total: 100},
		{Phase: "fetch", Base: "hosts", Step: 1, Steps: 2, Done: 50, Total: 100},
		{Phase: "fetch", Base: "hosts", Step: 2, Steps: 2, Done: 90, Total: 100},
		{Phase: "try\x1b[2J", Base: "hosts", Step: 2, Steps: 2, Done: 90, Total: 100},
		{Phase: "try", Base: "hosts\x1b[2J\n", Step: 2, Steps: 2, Done: 90, Total: 100},
		{Phase: "done"},
	} {
		s.progress(p)
	}
	s.end()
	w.Close()
	got, _ := io.ReadAll(r)
	const want = "asking the sources\nfetching hosts 1/2\nfetching hosts 2/2\ntrying hosts�[2J\n"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
