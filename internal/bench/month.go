package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// A month of a base that is published every hour: a sorted list of random
// hashes, which does not compress, so that its deltas cannot be cheaper than
// their entropy.
const (
	monthHours   = 720
	monthRecords = 20_000 // at the beginning
	monthAdded   = 6      // records an hour
	monthRemoved = 2
)

// monthBehind are how many versions behind the endpoints are that update at
// its end.
func monthBehind() []int { return []int{1, 2, 7, 24, 25, 72, 168, 360, monthHours - 1} }

// month is what a month of hourly versions was found to cost.
type month struct {
	Size, Full int64 // of the newest image, and of its full image as fetched
	Repository int64 // bytes of all files that the repository keeps, keys aside
	Most       int64 // the same at the fullest hour of the last day
	Blobs      int64 // of these in blobs
	Behind     []behind
}

// behind is the update of one endpoint that lay some versions behind.
type behind struct {
	Versions int
	Deltas   int
	Bytes    int64 // of the deltas
	Direct   int64 // of one delta made from its version to the newest
	All      int64 // of all bodies
	Requests int
}

func (b behind) ratio() float64 { return float64(b.Bytes) / float64(b.Direct) }

// monthList is the list as it goes through the month.
type monthList struct {
	random  *rand.ChaCha8
	records [][]byte
}

func (m *monthList) hour() {
	dice := rand.New(m.random)
	for range monthRemoved {
		i := dice.IntN(len(m.records))
		m.records = slices.Delete(m.records, i, i+1)
	}
	for range monthAdded {
		r := record(m.random)
		i, _ := slices.BinarySearchFunc(m.records, r, bytes.Compare)
		m.records = slices.Insert(m.records, i, r)
	}
}

func newMonthList() *monthList {
	m := &monthList{random: generator(5)}
	for range monthRecords {
		m.records = append(m.records, record(m.random))
	}
	slices.SortFunc(m.records, bytes.Compare)
	return m
}

// month publishes hour after hour, leaves endpoints behind at some versions,
// and has them all update at the end.
func (l *lab) month(ctx context.Context) (*month, error) {
	dir, repo, err := l.repository(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	own, err := serveOurs(repo.Dir)
	if err != nil {
		return nil, err
	}
	end := &endpoint{server: own}
	defer end.close()
	list, images, most := newMonthList(), map[int][]byte{}, int64(0)
	start := time.Now().Truncate(time.Second).Add(-monthHours * time.Hour)
	for v := 1; v <= monthHours; v++ {
		path := filepath.Join(dir, "list")
		img := slices.Concat(list.records...)
		if err := os.WriteFile(path, img, 0o600); err != nil {
			return nil, err
		}
		rel := publish.Release{Name: "list", Path: path, File: "list.txt", Published: start.Add(time.Duration(v) * time.Hour)}
		if _, err := repo.Publish(ctx, rel); err != nil {
			return nil, fmt.Errorf("publishing hour %d: %w", v, err)
		}
		if err := keepHouse(ctx, repo, rel.Published); err != nil {
			return nil, fmt.Errorf("pruning at hour %d: %w", v, err)
		}
		if v > monthHours-24 {
			size, err := sizeOf(repo.Dir)
			if err != nil {
				return nil, err
			}
			most = max(most, size)
		}
		if n := monthHours - v; n == 0 || slices.Contains(monthBehind(), n) {
			l.note("a month of hours: %d of %d published", v, monthHours)
			images[n] = img
		}
		if n := monthHours - v; n > 0 && images[n] != nil {
			end.state = filepath.Join(dir, fmt.Sprint("behind-", n))
			if _, err := l.update(ctx, repo, end, updater.Updated); err != nil {
				return nil, err
			}
		}
		list.hour()
	}
	m, err := l.monthEnd(ctx, dir, repo, end, images)
	if err == nil {
		m.Most = most
	}
	return m, err
}

// keepHouse gives the metadata written last the time of its hour, by which
// freshet-publish prune goes, and prunes as a publisher does after a release.
func keepHouse(ctx context.Context, repo *publish.Repository, hour time.Time) error {
	dir := filepath.Join(repo.Dir, "metadata")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		// Those of the hours before have a time of theirs, none with a fraction.
		if info.ModTime().Nanosecond() == 0 {
			continue
		}
		if err := os.Chtimes(filepath.Join(dir, e.Name()), hour, hour); err != nil {
			return err
		}
	}
	then := *repo
	then.Clock = &clock.Clock{Wall: func() time.Time { return hour }}
	_, err = then.Prune(ctx, false)
	return err
}

func (l *lab) monthEnd(ctx context.Context, dir string, repo *publish.Repository, end *endpoint, images map[int][]byte) (*month, error) {
	sum, err := repo.Show()
	if err != nil {
		return nil, err
	}
	m := &month{Size: sum.Bases[0].Size, Full: sum.Bases[0].Full}
	if m.Repository, err = sizeOf(repo.Dir); err != nil {
		return nil, err
	}
	if m.Blobs, err = sizeOf(filepath.Join(repo.Dir, "blobs")); err != nil {
		return nil, err
	}
	for _, n := range monthBehind() {
		end.state = filepath.Join(dir, fmt.Sprint("behind-", n))
		before := end.seen
		s, err := l.update(ctx, repo, end, updater.Updated)
		if err != nil {
			return nil, err
		}
		list, err := end.since(ctx, before, end.seen-before)
		if err != nil {
			return nil, err
		}
		b := behind{Versions: n, All: s.Bytes, Requests: s.Requests}
		if b.Deltas, b.Bytes, err = deltasAmong(repo.Dir, list); err != nil {
			return nil, err
		}
		var direct bytes.Buffer
		if _, err := delta.Make(ctx, &direct, images[n], images[0], delta.Options{}); err != nil {
			return nil, err
		}
		b.Direct = int64(direct.Len())
		m.Behind = append(m.Behind, b)
		l.note("%d hours behind: %d deltas, %d bytes, %.2f × the direct one", n, b.Deltas, b.Bytes, b.ratio())
	}
	return m, nil
}

// deltasAmong counts the blobs that were fetched and are no index: those are
// JSON objects.
func deltasAmong(repo string, list []exchange) (n int, size int64, err error) {
	for _, e := range list {
		if !strings.HasPrefix(e.Path, "/blobs/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(repo, filepath.FromSlash(e.Path)))
		if err != nil {
			return 0, 0, err
		}
		if !bytes.HasPrefix(data, []byte("{")) {
			n, size = n+1, size+e.Bytes
		}
	}
	return n, size, nil
}

// sizeOf is the bytes of all files below a folder.
func sizeOf(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

func (r *report) writeMonth(b *strings.Builder) {
	m := r.month
	if m == nil {
		return
	}
	t := &table{head: []string{"versions behind", "deltas", "bytes of deltas", "made directly", "ratio", "all bodies", "requests"}}
	for _, x := range m.Behind {
		t.add(fmt.Sprint(x.Versions), fmt.Sprint(x.Deltas), fmt.Sprint(x.Bytes), fmt.Sprint(x.Direct), times(x.ratio()), fmt.Sprint(x.All), fmt.Sprint(x.Requests))
	}
	fmt.Fprintf(b, "## A month of hours\n\nA sorted list of %d random hashes (%s at its end, %s as a full image), published %d times, an hour apart; "+
		"%d records come and %d go each hour. Pruned after each, the repository then holds %s, %.1f × one full image (%s of it blobs); at the fullest hour of the last day it was %.1f ×. "+
		"Endpoints that lay behind update to the newest version; “made directly” is one delta from the version they had.\n\n%s\n",
		monthRecords, mb(m.Size), mb(m.Full), monthHours, monthAdded, monthRemoved, mb(m.Repository), m.times(m.Repository), mb(m.Blobs), m.times(m.Most), t)
}

func (m *month) times(size int64) float64 { return float64(size) / float64(m.Full) }

func (r *report) monthGoals(t *table) {
	m := r.month
	if m == nil {
		return
	}
	t.add(fmt.Sprintf("%d hourly versions ≤ %d × one full image", monthHours, storageRatio),
		fmt.Sprintf("%.1f × at most", m.times(m.Most)), verdict(m.times(m.Most) <= storageRatio))
	near, far := behind{}, behind{}
	nearRatio, farRatio := 0.0, 0.0
	for _, x := range m.Behind {
		if x.Versions <= nearVersions {
			near.Deltas, nearRatio = max(near.Deltas, x.Deltas), max(nearRatio, x.ratio())
		} else {
			far.Deltas, farRatio = max(far.Deltas, x.Deltas), max(farRatio, x.ratio())
		}
	}
	t.add(fmt.Sprintf("to %d versions behind: 1 delta, ≤ 1.00 × direct", nearVersions),
		fmt.Sprintf("%d, %.2f × at most", near.Deltas, nearRatio), verdict(near.Deltas == 1 && nearRatio <= 1))
	t.add(fmt.Sprintf("to %d behind: ≤ %d deltas, ≤ %.2f × direct", monthHours, farDeltas, farLimit),
		fmt.Sprintf("%d, %.2f × at most", far.Deltas, farRatio), verdict(far.Deltas <= farDeltas && farRatio <= farLimit))
}
