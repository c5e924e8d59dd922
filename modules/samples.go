package modules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/settings"
)

// maxSample is the most bytes of a sample; clamd takes 25 MB by default.
const maxSample = 24 << 20

// sample is content of which the verdict is known.
type sample struct {
	name string
	path string // "": content
	data []byte
	bad  bool // it must be detected
}

// samplesOf are those of the settings, with what every host has: a version
// that detects the shell would have others quarantine it.
func samplesOf(s *settings.Samples) []sample {
	var all []sample
	if s == nil {
		return nil
	}
	if s.EICAR {
		all = append(all, sample{name: "EICAR", data: eicar(), bad: true})
	}
	for _, path := range s.Detect {
		all = append(all, sample{name: path, path: path, bad: true})
	}
	for _, path := range s.Pass {
		all = append(all, sample{name: path, path: path})
	}
	own := []string{"/bin/sh"}
	libc, _ := filepath.Glob("/lib/*-linux-gnu*/libc.so.6")
	own = append(own, libc...)
	if path, err := os.Executable(); err == nil {
		own = append(own, path)
	}
	for _, path := range own {
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Size() <= maxSample {
			all = append(all, sample{name: path, path: path})
		}
	}
	return all
}

// eicar is the EICAR test file, put together here so that nobody detects it
// in the agent.
func eicar() []byte {
	turned := []byte("*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X")
	for i, j := 0, len(turned)-1; i < j; i, j = i+1, j-1 {
		turned[i], turned[j] = turned[j], turned[i]
	}
	return turned
}

// open gives the content. The path is the operator's; a device or FIFO in its
// place holds nobody up.
func (s sample) open() (io.ReadCloser, error) {
	if s.path == "" {
		return io.NopCloser(bytes.NewReader(s.data)), nil
	}
	f, err := os.OpenFile(s.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a sample: %w", err)
	}
	st, err := f.Stat()
	if err == nil && (!st.Mode().IsRegular() || st.Size() > maxSample) {
		err = fmt.Errorf("the sample %s is no file of at most %d bytes", s.path, maxSample)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// copyTo puts the content into a scratch folder, under that name.
func (s sample) copyTo(path string) error {
	in, err := s.open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := durable.OpenNew(path, os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, maxSample))
	return errors.Join(err, out.Close())
}

// wrong says what is wrong with a verdict on the sample; "" if it is right.
func (s sample) wrong(found string) string {
	switch {
	case s.bad && found == "":
		return s.name + " is not detected"
	case !s.bad && found != "":
		return fmt.Sprintf("%s is detected, as %s", s.name, found)
	}
	return ""
}

// scratch makes a folder for the time of one try. Others may read it.
func scratch(parent string) (dir string, remove func(), err error) {
	if err := durable.MkdirAll(parent, 0o755); err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(parent, "try-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { os.RemoveAll(dir) }, os.Chmod(dir, 0o755)
}
