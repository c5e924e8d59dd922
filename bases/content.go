package bases

import (
	"bytes"
	"fmt"
	"slices"
)

// Count is what was found in an image's files.
//
// A record is a line that is neither empty nor begins with "#"; lines end at
// LF, and a CR before it does not count. A file with a NUL in its first
// 8,000 bytes is binary and counts as one record.
type Count struct {
	Records int64
	Had     []string // of Checks.MustHave, those found
	Forbid  []string // of Checks.MustLack, those found
}

// Verify says in what way the content found does not fulfil the manifest.
func (m *Manifest) Verify(c Count) error {
	if c.Records != m.Records {
		return fmt.Errorf("it has %d records, the manifest says %d", c.Records, m.Records)
	}
	return m.Checks.Verify(c)
}

// Verify says which check the content found does not fulfil.
func (k Checks) Verify(c Count) error {
	if c.Records < k.MinRecords {
		return fmt.Errorf("it has %d records, the floor is %d", c.Records, k.MinRecords)
	}
	for _, want := range k.MustHave {
		if !slices.Contains(c.Had, want) {
			return fmt.Errorf("it lacks the record %q, which must be there", want)
		}
	}
	if len(c.Forbid) > 0 {
		return fmt.Errorf("it has the record %q, which must not be there", c.Forbid[0])
	}
	return nil
}

// counter counts records in the files written to it one after another.
type counter struct {
	count  Count
	watch  map[string]bool // record → must it be there
	before int64           // records before this file
	line   []byte          // the start of a line cut by a write
	seen   int             // bytes of this file so far, up to the sniffing bound
	binary bool
	inLong bool // the line at hand is longer than any watched record
	counts bool // and it counts
}

const sniffBytes = 8000

// maxRecord is the longest line kept over writes; a longer one can match no
// sample and is counted by its first byte.
const maxRecord = 64 << 10

func newCounter(k Checks) *counter {
	c := &counter{}
	if len(k.MustHave)+len(k.MustLack) > 0 {
		c.watch = map[string]bool{}
		for _, r := range k.MustHave {
			c.watch[r] = true
		}
		for _, r := range k.MustLack {
			c.watch[r] = false
		}
	}
	return c
}

func (c *counter) Write(p []byte) (int, error) {
	n := len(p)
	if c.seen < sniffBytes {
		head := p[:min(len(p), sniffBytes-c.seen)]
		c.seen += len(head)
		c.binary = c.binary || bytes.IndexByte(head, 0) >= 0
	}
	if c.binary {
		return n, nil
	}
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		c.endLine(p[:i])
		p = p[i+1:]
	}
	c.keep(p)
	return n, nil
}

func (c *counter) endLine(tail []byte) {
	switch {
	case c.inLong:
		if c.counts {
			c.count.Records++
		}
	case len(c.line) > 0:
		c.record(append(c.line, tail...))
	default:
		c.record(tail)
	}
	c.line, c.inLong = c.line[:0], false
}

func (c *counter) keep(p []byte) {
	if c.inLong || len(p) == 0 {
		return
	}
	c.line = append(c.line, p...)
	if len(c.line) > maxRecord {
		c.inLong, c.counts = true, c.line[0] != '#'
		c.line = c.line[:0]
	}
}

func (c *counter) record(line []byte) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || line[0] == '#' {
		return
	}
	c.count.Records++
	if c.watch == nil {
		return
	}
	must, ok := c.watch[string(line)]
	if !ok {
		return
	}
	delete(c.watch, string(line)) // found is found; a repeated record must not fill the memory
	if must {
		c.count.Had = append(c.count.Had, string(line))
	} else {
		c.count.Forbid = append(c.count.Forbid, string(line))
	}
}

func (c *counter) endFile() {
	if c.binary {
		c.count.Records = c.before + 1
	} else if len(c.line) > 0 || c.inLong {
		c.endLine(nil)
	}
	c.before = c.count.Records
	c.line, c.inLong, c.binary, c.seen = c.line[:0], false, false, 0
}
