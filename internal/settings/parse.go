package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// MaxSize is the most that a settings file may have, in bytes.
const MaxSize = 1 << 20

// Load reads the settings file at path. errors.Is(err, ErrMissing) if it is
// not there, and [ErrOpen] if everyone may write it; what is wrong within it is [Problems].
func Load(path string) (*Settings, error) {
	s, _, err := LoadText(path)
	return s, err
}

// LoadText is Load, and gives the file's bytes too if it is right.
func LoadText(path string) (*Settings, []byte, error) {
	data, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	return parseText(path, data)
}

func parseText(path string, data []byte) (*Settings, []byte, error) {
	s, err := Parse(path, data)
	if err != nil {
		return nil, nil, err
	}
	return s, data, nil
}

func read(path string) ([]byte, error) {
	// O_NONBLOCK: opening a pipe would wait for its writer for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", path, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("reading settings: %s is no regular file", path)
	}
	if st.Mode().Perm()&0o002 != 0 {
		// It names commands that the agent runs.
		return nil, fmt.Errorf("reading settings: %w: chmod go-w %s", ErrOpen, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	return data, nil
}

// Parse reads settings of any known version. The error is [Problems], which
// name file and line, or a [MigrationError].
func Parse(file string, data []byte) (*Settings, error) {
	d := &decoder{file: file}
	doc := d.document(data)
	if doc == nil {
		return nil, d.err()
	}
	version := d.version(doc)
	if version == 0 {
		return nil, d.err()
	}
	doc, err := migrate(file, doc, version, steps())
	if err != nil {
		return nil, err
	}
	s := d.settings(doc)
	if err := d.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// document parses data, which must hold one document, a mapping.
func (d *decoder) document(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		d.problem(0, "more than %s", Bytes(MaxSize))
		return nil
	}
	var doc, next yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case err == io.EOF:
		d.problem(0, "empty: put version: %d first", Version)
		return nil
	case err != nil:
		d.syntax(err)
		return nil
	}
	switch err := dec.Decode(&next); {
	case err == nil:
		d.problem(next.Line, "a second document begins: settings are one")
		return nil
	case err != io.EOF:
		d.syntax(err)
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		d.problem(doc.Line, "wanted keys and values, beginning with version: %d", Version)
		return nil
	}
	return doc.Content[0]
}

// syntax takes the line out of an error of the YAML parser's.
func (d *decoder) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	d.problem(line, "no valid YAML: %s", text)
}

// version is the schema version of doc, or 0 after a problem.
func (d *decoder) version(doc *yaml.Node) int {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value != "version" {
			continue
		}
		n := doc.Content[i+1]
		v, err := strconv.Atoi(n.Value)
		switch {
		case n.Kind != yaml.ScalarNode || err != nil || v < 1:
			d.problem(n.Line, "version: wanted a number from 1 to %d", Version)
			return 0
		case v > Version:
			d.problem(n.Line, "version: %d is newer than this program, which knows up to %d: update it", v, Version)
			return 0
		}
		return v
	}
	d.problem(doc.Line, "version is missing: put version: %d first", Version)
	return 0
}
