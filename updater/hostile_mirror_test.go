package updater_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/updater"
)

// small bounds what all metadata, manifests and error pages of a run take.
const small = 4 << 10

// hostile is a mirror that misbehaves by itself: it holds no keys.
type hostile struct {
	name   string
	set    func(a *attack) // how the mirror is
	answer func(a *attack, w http.ResponseWriter, r *http.Request) bool

	version int64 // installed; 0: 2

	alone string // the outcome where there is no other source; "": failed
	event event.Code
	text  string
	hint  string
	bytes func(s *stage) int64 // the most a run takes; nil: small
	again bool                 // and each later one takes
	wait  time.Duration        // what the source asks for
}

func isBlob(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/blobs/") }

func blobs(answer func(a *attack, w http.ResponseWriter, r *http.Request)) func(*attack, http.ResponseWriter, *http.Request) bool {
	return func(a *attack, w http.ResponseWriter, r *http.Request) bool {
		if isBlob(r) {
			answer(a, w, r)
		}
		return isBlob(r)
	}
}

func everything(answer func(w http.ResponseWriter, r *http.Request)) func(*attack, http.ResponseWriter, *http.Request) bool {
	return func(_ *attack, w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true }
}

func atPath(path string, answer func(w http.ResponseWriter, r *http.Request)) func(*attack, http.ResponseWriter, *http.Request) bool {
	return func(_ *attack, w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, path) {
			answer(w, r)
		}
		return strings.HasSuffix(r.URL.Path, path)
	}
}

// endless writes as long as anyone reads.
func endless(w http.ResponseWriter, r *http.Request) {
	piece := bytes.Repeat([]byte(`{"signed":`), 1000)
	for r.Context().Err() == nil {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// drip writes a byte now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
		}
	}
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte("<!DOCTYPE html><html>Welcome to the hotel. Please log in.</html>"))
}

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// half sends the first half of what was asked for, promises all, and hangs up.
func half(a *attack, w http.ResponseWriter, r *http.Request) {
	data, err := os.ReadFile(filepath.Join(a.mirror.dir, r.URL.Path))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	w.Write(data[:len(data)/2])
}

// lie breaks off whole downloads half way, and answers requests for the rest
// as rest does.
func lie(rest func(w http.ResponseWriter, from, size int)) func(*attack, http.ResponseWriter, *http.Request) bool {
	return blobs(func(a *attack, w http.ResponseWriter, r *http.Request) {
		var from, to int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err != nil {
			half(a, w, r)
			return
		}
		rest(w, from, to+1)
	})
}

func once(s *stage) int64  { return small + s.full + s.delta }
func twice(s *stage) int64 { return small + 2*(s.full+s.delta) }

// mirrors lists the attacks and failures of a mirror without keys.
func mirrors(elsewhere string) []hostile {
	old := func(a *attack) { a.become(a.mirror, 1) }
	return []hostile{
		{name: "rollback to an old copy of the repository", set: old,
			alone: updater.NothingNew, event: event.SourceBehind, text: "timestamp", hint: "administrator"},
		{name: "mix-and-match: an old snapshot under the new name", answer: atPath("/4.snapshot.json", mix("3.snapshot.json")),
			event: event.SourceDamaged, text: "snapshot metadata: mismatch", hint: "administrator"},
		{name: "mix-and-match: an old list of bases under the new name", answer: atPath("/4.bases.json", mix("3.bases.json")),
			event: event.SourceDamaged, text: "bases metadata: mismatch", hint: "administrator"},
		{name: "a timestamp signed with the wrong key", set: func(a *attack) { wrongKey(a, "timestamp") },
			event: event.SourceHostile, text: "timestamp metadata: bad-signature", hint: "do not use this mirror"},
		{name: "a root signed with the wrong keys", set: func(a *attack) { wrongKey(a, "root") },
			event: event.SourceHostile, text: "root metadata: bad-signature", hint: "do not use this mirror"},
		{name: "a root with too few signatures", set: func(a *attack) {
			f := a.forger()
			f.keys["root"] = f.keys["root"][:1]
			f.sign("root")
		}, event: event.SourceHostile, text: "root metadata: bad-signature", hint: "do not use this mirror"},
		{name: "endless metadata: a root", answer: atPath("/2.root.json", endless),
			event: event.SourceDamaged, text: "longer than allowed", hint: "administrator",
			bytes: func(*stage) int64 { return trust.MaxRoot + small }, again: true},
		{name: "endless metadata: a timestamp", answer: atPath("/timestamp.json", endless),
			event: event.SourceDamaged, text: "longer than allowed", hint: "administrator",
			bytes: func(*stage) int64 { return trust.MaxTimestamp + small }, again: true},
		{name: "endless metadata: a snapshot", answer: atPath("/4.snapshot.json", endless),
			event: event.SourceDamaged, text: "longer than allowed", hint: "administrator"},
		{name: "an endless manifest", answer: atPath(".list.json", endless),
			event: event.SourceDamaged, text: "longer than allowed", hint: "administrator"},
		{name: "an endless body", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) { endless(w, r) }),
			event: event.SourceDamaged, text: "not what was signed", hint: "administrator", bytes: once},
		{name: "a slow drip of metadata", answer: everything(drip), set: impatient,
			event: event.SourceFailed, text: "bytes came within", hint: "network"},
		{name: "a slow drip of content", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) { drip(w, r) }), set: impatient,
			event: event.SourceFailed, text: "bytes came within", hint: "network"},
		{name: "a timestamp cut in half", set: func(a *attack) { cutFile(a, "metadata/timestamp.json") },
			event: event.SourceDamaged, text: "timestamp metadata: malformed", hint: "administrator"},
		{name: "a snapshot cut in half", set: func(a *attack) { cutFile(a, "metadata/4.snapshot.json") },
			event: event.SourceDamaged, text: "snapshot metadata: mismatch", hint: "administrator"},
		{name: "content cut in half", set: func(a *attack) { cutFile(a, "blobs/*") },
			event: event.SourceDamaged, text: "bytes are offered where", hint: "administrator"},
		{name: "a web page instead of metadata", answer: everything(page),
			event: event.SourceDamaged, text: "a web page", hint: "portal"},
		{name: "a web page that calls itself JSON", answer: everything(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte("<html>Welcome to the hotel.</html>"))
		}), event: event.SourceDamaged, text: "root metadata: malformed", hint: "portal"},
		{name: "a web page instead of content", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) { page(w, r) }),
			event: event.SourceDamaged, text: "a web page", hint: "portal"},
		{name: "a range that is not the one asked for", answer: lie(func(w http.ResponseWriter, from, size int) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", size-from-1, size))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(make([]byte, size-from))
		}), event: event.SourceDamaged, text: "the part", hint: "administrator", bytes: twice},
		{name: "a range with other bytes than those asked for", answer: lie(func(w http.ResponseWriter, from, size int) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(make([]byte, size-from))
		}), event: event.SourceFailed, text: "unexpected EOF", hint: "network", bytes: twice},
		{name: "a range that is refused", answer: lie(func(w http.ResponseWriter, _, _ int) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}), event: event.SourceFailed, text: "", hint: "network", bytes: twice},
		{name: "a part where the whole was asked for", answer: blobs(func(_ *attack, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("0123456789"))
		}), event: event.SourceDamaged, text: "a part came where the whole was asked for", hint: "administrator"},
		{name: "403 for everything", answer: everything(status(http.StatusForbidden)),
			event: event.SourceFailed, text: "status 403", hint: "address"},
		{name: "403 for content", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }),
			event: event.SourceFailed, text: "status 403", hint: "address"},
		{name: "429 with Retry-After for everything", answer: everything(status(429, "Retry-After", "120")),
			event: event.SourceBusy, text: "asks to wait 2m0s", hint: "after that time", wait: 2 * time.Minute},
		{name: "429 with Retry-After for content", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) {
			status(429, "Retry-After", "120")(w, r)
		}), event: event.SourceBusy, text: "asks to wait 2m0s", hint: "after that time", wait: 2 * time.Minute},
		{name: "500 for everything", answer: everything(status(500)),
			event: event.SourceFailed, text: "status 500", hint: "address"},
		{name: "502 for content", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) }),
			event: event.SourceFailed, text: "status 502", hint: "address"},
		{name: "a redirect of metadata to elsewhere", answer: everything(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusFound)
		}), event: event.SourceFailed, text: "redirects to elsewhere", hint: "address"},
		{name: "a redirect of content to elsewhere", answer: blobs(func(_ *attack, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
		}), event: event.SourceFailed, text: "redirects to elsewhere", hint: "address"},
		{name: "a redirect that never ends", answer: everything(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}), event: event.SourceFailed, text: "redirects", hint: "address"},
		{name: "content of other bytes under the right name", answer: blobs(func(a *attack, w http.ResponseWriter, r *http.Request) {
			data, _ := os.ReadFile(filepath.Join(a.mirror.dir, r.URL.Path))
			w.Write(bytes.Repeat([]byte("x"), len(data)))
		}), event: event.SourceDamaged, text: "its hash is wrong", hint: "administrator", bytes: once},
		{name: "a missing delta", set: func(a *attack) {
			os.Remove(filepath.Join(a.mirror.dir, manifestIn(a.t, a.mirror.dir, "list").Deltas[0].Path()))
		}, alone: updater.Updated, event: event.DeltaFailed, text: "status 404", hint: "the next best way", bytes: once},
		{name: "no content at all", set: func(a *attack) { os.RemoveAll(filepath.Join(a.mirror.dir, "blobs")) },
			event: event.SourceFailed, text: "status 404", hint: "address"},
		{name: "a missing manifest", set: func(a *attack) { os.RemoveAll(filepath.Join(a.mirror.dir, "targets")) },
			event: event.SourceFailed, text: "status 404", hint: "address"},
		{name: "a mirror that dies half way through a download", answer: blobs(half),
			event: event.SourceFailed, text: "unexpected EOF", hint: "network", bytes: once},
		{name: "a mirror that hangs up at once", answer: everything(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			event: event.SourceFailed, text: "EOF", hint: "network"},
	}
}

// mix answers with another file of the metadata's folder.
func mix(name string) func(http.ResponseWriter, *http.Request) {
	return func(_ http.ResponseWriter, r *http.Request) { r.URL.Path = "/metadata/" + name }
}

func impatient(a *attack) {
	a.settings = func(s *source.HTTP) { s.IdleTimeout = 150 * time.Millisecond }
}

func wrongKey(a *attack, role string) {
	f := a.forger()
	for i := range f.keys[role] {
		_, f.keys[role][i] = newKey(a.t)
	}
	f.sign(role)
}

func cutFile(a *attack, pattern string) {
	a.t.Helper()
	files, _ := filepath.Glob(filepath.Join(a.mirror.dir, pattern))
	for _, path := range files {
		st, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, st.Size()/2)
		}
		if err != nil {
			a.t.Fatal(err)
		}
	}
}

func TestAgainstAMirrorThatMisbehaves(t *testing.T) {
	s := newStage(t)
	elsewhere := s.attack(t).newMirror(3)
	t.Cleanup(func() {
		if n := elsewhere.requests.Load(); n != 0 {
			t.Errorf("%d requests were led elsewhere", n)
		}
	})
	for _, h := range mirrors(elsewhere.URL) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			if h.set != nil {
				h.set(a)
			}
			if h.answer != nil {
				a.mirror.serve(func(w http.ResponseWriter, r *http.Request) bool { return h.answer(a, w, r) })
			}
			a.endure(h)
			if res := a.run(a.mirror, a.good); res.Outcome != updater.Updated && h.alone != updater.Updated {
				t.Errorf("with a good mirror beside it: %q (%s)\n%s", res.Outcome, res.Error, a.events())
			}
			a.expect("list", 3)
		})
	}
}

// endure runs three times against the mirror alone.
func (a *attack) endure(h hostile) {
	a.t.Helper()
	want, most := h.alone, int64(small)
	if want == "" {
		want = updater.Failed
	}
	if h.bytes != nil {
		most = h.bytes(a.stage)
	}
	var total int64
	var log []event.Event
	for n := range 3 {
		if n > 0 && want == updater.Updated {
			want = updater.NothingNew
		}
		res := a.run(a.mirror)
		total += res.Bytes
		log = append(log, a.log...)
		if res.Outcome != want {
			a.t.Fatalf("run %d: %q (%s), want %q\n%s", n+1, res.Outcome, res.Error, want, a.events())
		}
		if res.Bytes > most || res.Requests > 20 {
			a.t.Errorf("run %d: %d bytes and %d requests were spent, at most %d and 20 are right", n+1, res.Bytes, res.Requests, most)
		}
		if res.RetryAfter != h.wait {
			a.t.Errorf("run %d: the next may come after %s, want %s", n+1, res.RetryAfter, h.wait)
		}
		if h.alone != updater.Updated {
			a.expect("list", max(h.version, 2))
		}
	}
	a.log = log
	a.told(h.event, h.text, h.hint)
	if most := most + a.full/2 + 2*small; total > most && !h.again {
		a.t.Errorf("three runs spent %d bytes, at most %d are no loop\n%s", total, most, a.events())
	}
	if sent := a.mirror.bytes.Load(); sent > total+32<<20 { // what lies in sockets is not spent
		a.t.Errorf("the mirror could send %d bytes", sent)
	}
	a.protected()
}
