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
		{Phase: "fetch\x1b[2J", Base: "hosts\n", Step: 2, Steps: 2, Done: 90, Total: 100},
		{Phase: "done"},
	} {
		s.progress(p)
	}
	s.end()
	w.Close()
	got, _ := io.ReadAll(r)
	const want = "refresh\nfetch hosts 1/2\nfetch hosts 2/2\nfetch�[2J hosts 2/2\ndone\n"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
