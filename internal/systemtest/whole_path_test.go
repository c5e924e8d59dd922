//go:build system

package systemtest_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// corpusFile is the name that a corpus of one file has at the endpoint.
const corpusFile = "list.txt"

// path is one corpus on its way from its publisher to endpoints.
type path struct {
	t        *testing.T
	name     string
	versions []corpusVersion
	p        *publisher
	sources  []source
}

type source struct{ name, url string }

// TestEveryCorpusFromEachVersionToTheNewest publishes all versions of each
// corpus with their real times, and updates to each from the one before, and
// from each and from nothing to the newest. What engines read is compared with
// the corpus to the byte each time.
func TestEveryCorpusFromEachVersionToTheNewest(t *testing.T) {
	corpora := corporaDir(t)
	for _, name := range []string{"maltrail-hourly", "maltrail-daily", "phishing-json", "email-domains", "hub-tree"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &path{t: t, name: name, versions: unpack(t, corpora, name), p: newPublisher(t, released)}
			w.sources = []source{{"serve", w.p.serve()}, {"nginx", w.p.nginx()}, {"folder", w.p.repo()}}
			began := time.Now()
			saved := w.publishAndFollow()
			t.Logf("%d versions published and followed in %s", len(w.versions), time.Since(began).Round(time.Second))
			began = time.Now()
			w.catchUp(saved)
			t.Logf("caught up from each in %s", time.Since(began).Round(time.Second))
			began = time.Now()
			t.Logf("%d files verified in %s", w.p.verify(), time.Since(began).Round(time.Second))
		})
	}
}

// publishAndFollow publishes version by version while one endpoint follows. It
// gives the endpoint as it was before the first and after each version.
func (w *path) publishAndFollow() []*endpoint {
	w.t.Helper()
	e := newEndpoint(w.t, w.p, w.sources[0].url)
	saved := []*endpoint{e.copy()}
	var spent time.Duration
	for i, v := range w.versions {
		began := time.Now()
		args := []string{"base", w.p.repo(), w.name, v.path, "--published", v.published}
		if !v.tree {
			args = append(args, "--file", corpusFile)
		}
		w.p.run(args...)
		spent += time.Since(began)
		from := w.sources[i%len(w.sources)]
		e.use(from.url)
		res := w.bring(e, i, i+1)
		// An hour's update costs its delta and at most 4 KB of metadata; the
		// first brings the whole.
		if more := res.Bytes - res.Bases[0].Bytes; i > 0 && more > 4<<10 {
			w.t.Errorf("%d bytes besides the delta from version %d by %s", more, i, from.name)
		}
		if i < len(w.versions)-1 {
			saved = append(saved, e.copy())
		}
	}
	w.nothingNew(e)
	e.remove()
	w.t.Logf("%s to publish a version, on average", (spent / time.Duration(len(w.versions))).Round(10*time.Millisecond))
	return saved
}

// nothingNew asserts what a look that finds nothing new costs.
func (w *path) nothingNew(e *endpoint) {
	w.t.Helper()
	for _, from := range w.sources {
		e.use(from.url)
		if res := e.update(api.NothingNew); res.Requests != 2 || res.Bytes > 1<<10 {
			w.t.Errorf("nothing new by %s: %d requests, %d bytes", from.name, res.Requests, res.Bytes)
		}
	}
}

// catchUp updates from each saved version to the newest: from nothing, 1, 3
// and 10 versions behind from each source, from the others by turns.
func (w *path) catchUp(saved []*endpoint) {
	w.t.Helper()
	newest := len(w.versions)
	for at, from := range saved {
		sources := w.sources[at%len(w.sources) : at%len(w.sources)+1]
		switch newest - at {
		case newest, 1, 3, 10:
			sources = w.sources
		}
		for _, s := range sources {
			e := from.copy()
			e.use(s.url)
			res := w.bring(e, at, newest)
			w.t.Logf("%2d to %d by %-6s %9d bytes in %d requests, full %d", at, newest, s.name, res.Bytes, res.Requests, res.Full)
			e.remove()
		}
		from.remove()
	}
}

// bring updates e from one version to another and compares.
func (w *path) bring(e *endpoint, from, to int) api.Result {
	w.t.Helper()
	res := e.update(api.Updated)
	if c := res.Bases; len(c) != 1 || c[0].From != int64(from) || c[0].To != int64(to) {
		w.t.Fatalf("updated %+v, want version %d to %d", c, from, to)
	}
	if from > 0 && res.Bases[0].Bytes > res.Bases[0].Full/2 {
		w.t.Errorf("%d bytes from version %d to %d, where the full image has %d", res.Bases[0].Bytes, from, to, res.Bases[0].Full)
	}
	w.versions[to-1].compare(w.t, e.path("state/bases/"+w.name+"/current"), corpusFile)
	e.checkSettled()
	return res
}
