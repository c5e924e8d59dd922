package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

func TestFollowGivesWhatWasAndWhatComes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	synctest.Test(t, func(t *testing.T) {
		l, err := eventlog.Open(path, eventlog.MinBytes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 100 { // more than is kept in memory
			add(t, l, happened(n))
		}
		var mu sync.Mutex // guards seen
		seen := map[int64][]int64{}
		ctx, cancel := context.WithCancel(t.Context())
		ends := make(chan error)
		for _, from := range []int64{0, 98, 100, 1000} {
			go func() {
				ends <- l.Follow(ctx, from, func(e event.Event) error {
					mu.Lock()
					defer mu.Unlock()
					seen[from] = append(seen[from], e.Seq)
					return nil
				})
			}()
		}
		synctest.Wait()
		for n := range 3 {
			add(t, l, happened(n))
			if n == 1 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		cancel()
		for range 4 {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
		for from, want := range map[int64]int{0: 103, 98: 5, 100: 3, 1000: 0} {
			if len(seen[from]) != want {
				t.Errorf("from %d: %v", from, seen[from])
			}
			for i, seq := range seen[from] {
				if seq != from+int64(i)+1 {
					t.Errorf("from %d: %v", from, seen[from])
					break
				}
			}
		}

		enough := errors.New("enough")
		if err := l.Follow(context.Background(), 0, func(event.Event) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
		go func() { ends <- l.Follow(context.Background(), 0, func(event.Event) error { return nil }) }()
		synctest.Wait()
		l.Close()
		if err := <-ends; err != nil {
			t.Errorf("after Close: %v", err)
		}
		if _, err := l.Append(happened(0)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Append after Close: %v", err)
		}
	})
}

func TestManyMayAppendAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	l := open(t, path)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for n := range 20 {
				if _, err := l.Append(happened(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if events := checkLog(t, l, path); len(events) != 160 {
		t.Errorf("%d events", len(events))
	}
}
