package bases

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The image of a tree is an index of its files, then their contents in the
// same order, nothing between or behind:
//
//	freshet-tree 1\n
//	- 1234 dir/name\n        mode ("-", or "x" for executable), bytes, path
//	x 17 other\n             ascending by the bytes of the path
//	\n                       an empty line ends the index
//	…1234 bytes……17 bytes…
//
// Paths are relative, UTF-8 in normalization form C, and made of parts that
// are neither empty, "." nor "..", without control characters. No two are
// equal when case is folded, none is a folder of another. Empty folders,
// links and owners are not part of an image.
const treeMagic = "freshet-tree 1\n"

// Bounds of a tree's index, so that a hostile image cannot fill the memory.
const (
	maxTreeIndex = 32 << 20
	maxTreePath  = 1024
	maxTreeDepth = 64
	maxTreeNames = 1 << 17 // files and folders
)

type treeEntry struct {
	path string
	exec bool
	size int64
}

func (e treeEntry) line() string {
	mode := "-"
	if e.exec {
		mode = "x"
	}
	return mode + " " + strconv.FormatInt(e.size, 10) + " " + e.path + "\n"
}

// formatTree gives the index of entries, which it sorts.
func formatTree(entries []treeEntry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(a.path, b.path) })
	if err := checkTree(entries); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(treeMagic)
	for _, e := range entries {
		b.WriteString(e.line())
	}
	b.WriteByte('\n')
	if b.Len() > maxTreeIndex {
		return nil, fmt.Errorf("index of the tree is %d bytes, the most is %d", b.Len(), maxTreeIndex)
	}
	return b.Bytes(), nil
}

// parseTree reads an index. There is one way only to write an index.
func parseTree(index []byte) ([]treeEntry, error) {
	rest, ok := bytes.CutPrefix(index, []byte(treeMagic))
	if !ok {
		return nil, errors.New("the image is no tree of format 1")
	}
	var entries []treeEntry
	for {
		line, after, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil, errors.New("the index of the tree is cut off")
		}
		rest = after
		if len(line) == 0 {
			break
		}
		e, err := parseTreeLine(string(line))
		if err != nil {
			return nil, err
		}
		if n := len(entries); n > 0 && entries[n-1].path >= e.path {
			return nil, fmt.Errorf("tree: %q stands out of order", e.path)
		} else if n == maxTreeNames {
			return nil, errManyNames
		}
		entries = append(entries, e)
	}
	if len(rest) != 0 {
		return nil, errors.New("bytes behind the index of the tree")
	}
	return entries, checkTree(entries)
}

func parseTreeLine(line string) (treeEntry, error) {
	if len(line) > maxTreePath+32 {
		return treeEntry{}, fmt.Errorf("tree: a path of %d bytes, the most is %d", len(line)-len("- 0 "), maxTreePath)
	}
	mode, rest, ok1 := strings.Cut(line, " ")
	size, name, ok2 := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	e := treeEntry{path: name, exec: mode == "x", size: n}
	if !ok1 || !ok2 || err != nil || n < 0 || e.line() != line+"\n" {
		return e, fmt.Errorf("tree: %q is no entry", line)
	}
	return e, nil
}

// A treeName is a name within a folder; what was folded has no case.
type treeName struct {
	folder int // 0: the root of the tree
	folded string
}

var errManyNames = fmt.Errorf("the tree has more than %d files and folders", maxTreeNames)

// checkTree refuses paths that climb out, clash, or mean different files on
// different systems.
func checkTree(entries []treeEntry) error {
	if len(entries) == 0 {
		return errors.New("the tree has no files")
	}
	type node struct {
		id   int
		name string
		file bool
	}
	fold := cases.Fold()
	seen := make(map[treeName]node, len(entries))
	for _, e := range entries {
		if err := checkTreePath(e.path); err != nil {
			return err
		}
		at, begins := 0, 0
		for part := range strings.SplitSeq(e.path, "/") {
			ends := begins + len(part)
			key := treeName{at, norm.NFC.String(fold.String(part))}
			n, ok := seen[key]
			switch file := ends == len(e.path); {
			case !ok && len(seen) == maxTreeNames:
				return errManyNames
			case !ok:
				n = node{len(seen) + 1, part, file}
				seen[key] = n
			case n.name != part:
				return fmt.Errorf("tree: %q and %q differ by case alone", e.path[:begins]+n.name, e.path[:ends])
			case n.file || file:
				return fmt.Errorf("tree: %q is both a file and a folder, or there twice", e.path[:ends])
			}
			at, begins = n.id, ends+1
		}
	}
	return nil
}

func checkTreePath(p string) error {
	if len(p) > maxTreePath {
		return fmt.Errorf("tree: a path of %d bytes, the most is %d", len(p), maxTreePath)
	}
	if err := checkText(p); err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	if !norm.NFC.IsNormalString(p) {
		return fmt.Errorf("tree: %q is not in Unicode normalization form C", p)
	}
	if n := strings.Count(p, "/"); n >= maxTreeDepth {
		return fmt.Errorf("tree: a path of %d parts, the most is %d", n+1, maxTreeDepth)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return fmt.Errorf("tree: %q is no path within the tree", p)
		}
	}
	return nil
}

// Content is one file of an image.
type Content struct {
	Path string // within the tree; "" for the file of a KindFile image
	Data []byte // a part of the image
}

// Contents gives the files of an image in its order.
func Contents(kind string, image []byte) ([]Content, error) {
	if kind == KindFile {
		return []Content{{Data: image}}, nil
	}
	end := bytes.Index(image, []byte("\n\n"))
	if end < 0 {
		return nil, errors.New("the index of the tree is cut off")
	}
	entries, err := parseTree(image[:end+2])
	if err != nil {
		return nil, err
	}
	rest := image[end+2:]
	files := make([]Content, 0, len(entries))
	for _, e := range entries {
		if e.size > int64(len(rest)) {
			return nil, fmt.Errorf("tree: the image ends within %q", e.path)
		}
		files = append(files, Content{e.path, rest[:e.size:e.size]})
		rest = rest[e.size:]
	}
	return files, nil
}
