package updater

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
)

// contentError says that what was to be had is not there, or is not what was
// signed: another way to the version may still lead there. Other errors are
// about the network or this machine, and another way would meet them too.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// localError is about this machine's disk: no source is to blame, and asking
// another would not help.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// errNotSigned says that a file came whole and has the wrong content.
var errNotSigned = errors.New("it is not what was signed")

// turn is one asking of a source for a file.
type turn struct {
	source source.Source
	anew   bool // nobody gave the rest: begin again
	last   bool // it was left for its pace, and the others had no more: it has all the time
}

// blob brings a file of the repository into the folder for temporary files and
// gives its path. A download broken off earlier is resumed, from whichever
// source; each source is asked once, and once more where it was left for its
// pace and the others did no better, or from the start where the rest was not to
// be had or what was resumed proved wrong, so that the bytes spent are bounded.
func (u *Updater) blob(ctx context.Context, first source.Source, b bases.Blob, done func(int64)) (string, error) {
	path := u.partPath(b)
	if err := checkBlob(path, b); err == nil {
		done(b.Size)
		return path, nil
	}
	var ask []turn
	for _, s := range u.byPace(first) {
		ask = append(ask, turn{source: s})
	}
	f := &failures{}
	cleared := false
	for i := 0; i < len(ask); i++ {
		at := ask[i]
		if at.anew && !cleared {
			os.Remove(path)
			cleared = true
		}
		had := size(path)
		err := u.download(ctx, at, ask[i+1:], path, b, done)
		if err == nil {
			u.mended(b)
			return path, nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		var local *localError
		if errors.As(err, &local) {
			return "", err
		}
		var slow *slowError
		if errors.As(err, &slow) {
			u.emit(event.SourceSlow, "source", at.source.Name(), "file", b.Path(), "error", slow.why)
			ask = append(ask, turn{source: at.source, last: true})
			continue
		}
		u.sourceGave(at.source, err)
		again := !at.anew && !at.last && had > 0 && size(path) > 0 && rangeRefused(err)
		if again {
			ask = append(ask, turn{source: at.source, anew: true})
		}
		f.add(err, again)
	}
	if f.notContent || f.broken && !u.noteBroken(b) {
		return "", inOneLine(withoutContent(f.errs))
	}
	os.Remove(path) // nobody has the rest of it
	return "", &contentError{inOneLine(f.errs)}
}

// failures is what sources said of a file that none of them gave.
type failures struct {
	errs       []error
	notContent bool // some is about the network
	broken     bool // some is a source's own failure at this file
}

func (f *failures) add(err error, again bool) {
	f.errs = append(f.errs, err)
	var content *contentError
	switch {
	case again || errors.As(err, &content):
	case failedAt(err):
		f.broken = true
	default:
		f.notContent = true
	}
}

// byPace lists the sources with first in front, but those that were far slower
// than others of late at the end.
func (u *Updater) byPace(first source.Source) []source.Source {
	all := u.sourcesFrom(first)
	u.paces().order(all)
	return all
}

// paces is where the paces of sources are kept.
func (u *Updater) paces() *Pace {
	if u.Pace == nil {
		u.Pace = &Pace{}
	}
	return u.Pace
}

// withoutContent leaves of what is about content the words alone: another source
// may have it, when it can be reached again.
func withoutContent(errs []error) []error {
	list := slices.Clone(errs)
	for i, err := range list {
		var content *contentError
		if errors.As(err, &content) {
			list[i] = errors.New(err.Error())
		}
	}
	return list
}

// rangeRefused says whether a source has the file but not the rest of it.
func rangeRefused(err error) bool {
	var status *source.StatusError
	return errors.Is(err, source.ErrWrongFile) ||
		errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable
}

func size(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// download resumes path from one source until it is the blob. others are the
// turns to come.
func (u *Updater) download(ctx context.Context, at turn, others []turn, path string, b bases.Blob, done func(int64)) error {
	resumed, err := u.append(ctx, at, others, path, b, done)
	if err != nil {
		return err
	}
	if err = checkBlob(path, b); err == nil {
		return nil
	}
	// What is wrong is of no use to anyone.
	if rm := os.Remove(path); rm != nil {
		return &localError{rm}
	}
	if !resumed {
		return &contentError{err}
	}
	if _, err = u.append(ctx, at, others, path, b, done); err != nil {
		return err
	}
	if err = checkBlob(path, b); err != nil {
		os.Remove(path)
		return &contentError{err}
	}
	return nil
}

// append adds to path what it lacks, and says whether it had something.
func (u *Updater) append(ctx context.Context, at turn, others []turn, path string, b bases.Blob, done func(int64)) (resumed bool, err error) {
	s := at.source
	if err := u.Disk.Do("open", path); err != nil {
		return false, &localError{err}
	}
	have := size(path)
	if have > b.Size {
		have = 0
	}
	ctx, stop := context.WithTimeoutCause(ctx, patience(b.Size-have), errTooSlow)
	defer stop()
	body, start, err := s.Open(ctx, b.Path(), have, b.Size)
	if errors.Is(err, source.ErrNotFound) || errors.Is(err, source.ErrWrongFile) {
		return false, &contentError{err}
	}
	if err != nil {
		return false, err
	}
	defer body.Close()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, &localError{err}
	}
	defer func() {
		if e := f.Close(); e != nil {
			err = errors.Join(err, &localError{e})
		}
	}()
	if err := f.Truncate(start); err != nil {
		return false, &localError{err}
	}
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return false, &localError{err}
	}
	w := &progressWriter{w: f, done: done, at: start, from: start, began: time.Now(), disk: func() error { return u.Disk.Do("write", path) }}
	measured := u.timed(at, others, body, b.Size-start)
	defer measured.end()
	from := io.LimitReader(measured, b.Size-start)
	if bucket := u.limiter(); bucket != nil {
		from = paced{ctx, from, bucket}
	}
	_, err = io.CopyBuffer(w, from, make([]byte, 64<<10))
	if w.err != nil {
		err = &localError{w.err}
	} else if err != nil {
		err = fmt.Errorf("%s from %s broke off after %d of %d bytes, and is resumed there: %w", b.Path(), s.Name(), w.at, b.Size, err)
	}
	return start > 0, err
}

// timed measures a download in its turn.
func (u *Updater) timed(at turn, others []turn, body io.Reader, left int64) *timed {
	paces := u.paces()
	every := u.Every
	if every <= 0 {
		every = time.Hour
	}
	return &timed{r: body, pace: paces, name: at.source.Name(), left: left, within: every / 4, others: func() []float64 {
		var rates []float64
		for _, o := range others {
			if !at.last && o.source != at.source {
				rates = append(rates, paces.rate(o.source.Name()))
			}
		}
		return rates
	}}
}

// A source that drips must not hold up an update for days: it has ten minutes
// and a second for each 4 KiB. What came is kept and resumed.
var errTooSlow = errors.New("the source is too slow: under 4 KiB a second for more than ten minutes")

func patience(size int64) time.Duration {
	return 10*time.Minute + time.Duration(size/(4<<10))*time.Second
}

type progressWriter struct {
	w     io.Writer
	from  int64
	at    int64
	began time.Time
	done  func(int64)
	disk  func() error
	err   error // of the disk
}

// Write ends a download whose source has not kept up so far.
func (p *progressWriter) Write(b []byte) (n int, err error) {
	if time.Since(p.began) > patience(p.at-p.from) {
		return 0, errTooSlow
	}
	if err = p.disk(); err == nil {
		n, err = p.w.Write(b)
	}
	p.err = err
	p.at += int64(n)
	p.done(p.at)
	return n, err
}

func checkBlob(path string, b bases.Blob) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, b.Size+1))
	if err != nil {
		return err
	}
	if n != b.Size {
		return fmt.Errorf("%s: %w: it has %d bytes, signed are %d", b.Path(), errNotSigned, n, b.Size)
	}
	if bases.Hash(h.Sum(nil)) != b.SHA256 {
		return fmt.Errorf("%s: %w: its hash is wrong", b.Path(), errNotSigned)
	}
	return nil
}
