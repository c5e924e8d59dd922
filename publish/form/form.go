// Package form says what shape the content of a base has, beyond its amount, and
// what changed in it from one version to the next. A feed's server answers with a
// page, a writer is cut short, a converter leaves a file empty: the amounts may be
// right, and the form tells.
//
//	content ─► Of ─► Form ┐
//	                      ├─► Compare ─► findings: note, warn, refuse
//	version before ─► Form ┘
//
// Everything here is a pure function of bytes; nothing is read twice.
package form

import (
	"bytes"
	"unicode/utf8"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/firewall/iplist"
)

// Form is the shape of one version.
type Form struct {
	Name    string // of the base
	Version int64
	Kind    string // bases.KindFile or bases.KindTree
	Records int64
	Size    int64           // bytes of the image
	Files   map[string]File // by path, "" for a single file; nil: not known
}

// File is the shape of one file.
type File struct {
	Size    int64
	Content Content
	Mark    bool // it begins with a byte order mark of UTF-8
	Valid   bool // UTF-8 from the first byte to the last
	Returns bool // the lines end with CR LF, or some of them do
	Closed  bool // the last line ends with a line feed
	last    []byte

	list *iplist.List // nil: it is no list of addresses
}

// Content is what kind of content a file has.
type Content string

// Kinds of content.
const (
	Empty  Content = "empty"
	Text   Content = "text"
	HTML   Content = "an HTML page"
	XML    Content = "XML"
	JSON   Content = "JSON"
	UTF16  Content = "UTF-16"
	Binary Content = "binary"
	Gzip   Content = "gzip"
	Bzip2  Content = "bzip2"
	XZ     Content = "xz"
	Zstd   Content = "zstd"
	Zip    Content = "zip"
	SevenZ Content = "7z"
	CVD    Content = "CVD"
)

// Compressed says whether a small change of what is inside changes all of it.
func (c Content) Compressed() bool {
	switch c {
	case Gzip, Bzip2, XZ, Zstd, Zip, SevenZ, CVD:
		return true
	}
	return false
}

// Of reads the shape of an image with so many records.
func Of(name string, version, records int64, kind string, image []byte) (Form, error) {
	files, err := bases.Contents(kind, image)
	if err != nil {
		return Form{}, err
	}
	f := Form{Name: name, Version: version, Kind: kind, Records: records, Size: int64(len(image)), Files: make(map[string]File, len(files))}
	for _, c := range files {
		f.Files[c.Path] = of(c.Data)
	}
	return f, nil
}

func of(data []byte) File {
	f := File{Size: int64(len(data)), Content: Sniff(data)}
	if len(data) == 0 {
		return f
	}
	f.Mark = bytes.HasPrefix(data, mark8)
	f.Closed = data[len(data)-1] == '\n'
	if f.Content == Binary || f.Content == UTF16 || f.Content.Compressed() {
		return f
	}
	f.Valid = utf8.Valid(data)
	f.Returns = bytes.Contains(data, []byte("\r\n"))
	f.last = bytes.Clone(lastLine(data))
	f.list = addresses(data)
	return f
}

// addresses reads data as a block list, as the firewall of an endpoint does, if it
// is one: that most of its first lines are addresses. nil: it is not.
func addresses(data []byte) *iplist.List {
	head := data[:min(len(data), sniffed)]
	if i := bytes.LastIndexByte(head, '\n'); i >= 0 && len(head) < len(data) {
		head = head[:i]
	}
	l, err := iplist.Read(bytes.NewReader(head))
	if err != nil || l.Left*2 >= l.Lines {
		return nil
	}
	if l, err = iplist.Read(bytes.NewReader(data)); err != nil {
		return nil
	}
	return &l
}

// shown is the most of a line that a finding shows.
const shown = 60

func lastLine(data []byte) []byte {
	data = data[bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n')+1:]
	return data[max(0, len(data)-shown):]
}

var (
	mark8  = []byte("\xef\xbb\xbf")
	magics = []struct {
		begin string
		is    Content
	}{
		{"\xff\xfe", UTF16}, {"\xfe\xff", UTF16},
		{"\x1f\x8b\x08", Gzip},
		{"\xfd7zXZ\x00", XZ},
		{"\x28\xb5\x2f\xfd", Zstd},
		{"PK\x03\x04", Zip}, {"PK\x05\x06", Zip},
		{"7z\xbc\xaf\x27\x1c", SevenZ},
	}
)

// cvdHeader is the length of a CVD's header in bytes. What follows is a gzip file
// in a CVD, and a plain tar archive in a CLD, of which a small change stays small.
const cvdHeader = 512

// sniffed is how much of a file tells what it is, in bytes; as much as counting
// records looks at.
const sniffed = 8000

// Sniff says what kind of content begins with data.
func Sniff(data []byte) Content {
	head := data[:min(len(data), sniffed)]
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.begin)) {
			return m.is
		}
	}
	switch {
	case len(head) == 0:
		return Empty
	case bytes.HasPrefix(head, []byte("ClamAV-VDB:")) && len(head) > cvdHeader && Sniff(head[cvdHeader:]) == Gzip:
		return CVD
	case len(head) >= 10 && bytes.HasPrefix(head, []byte("BZh")) && string(head[4:10]) == "1AY&SY":
		return Bzip2
	case bytes.IndexByte(head, 0) >= 0:
		return Binary
	}
	return markup(bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head, mark8))))
}

// markup tells a list from what a server answers with in its place.
func markup(head []byte) Content {
	switch {
	case len(head) == 0:
		return Text
	case head[0] == '{':
		return JSON
	case head[0] != '<':
		return Text
	case bytes.Contains(head, []byte("<!doctype html")) || bytes.Contains(head, []byte("<html")):
		return HTML
	case bytes.HasPrefix(head, []byte("<?xml")) || bytes.HasPrefix(head, []byte("<error")):
		return XML
	}
	return Text
}
