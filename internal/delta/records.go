package delta

import "bytes"

// Most databases are lists of records, and change by whole ones. A delta may
// therefore count in records: the position of an edit in a list of 2,000,000
// lines takes 21 bits where that in its 61 MB takes 26, and the length of an
// inserted line, which its line feed tells anyway, takes none.
//
// The unit of a delta is what its operations count: bytes, lines, or records
// of one size.
const (
	unitLines = 0
	unitBytes = 1
	unitMax   = 64 // of records of one size
)

// upTo returns how many bytes of b there are up to and with its k-th line
// feed, and the number of line feeds in them. If b has fewer, that is all of b.
func upTo(b []byte, k int64) (n int, found int64) {
	for _, block := range [...]int{4 << 10, 256} {
		for n < len(b) {
			part := b[n:min(n+block, len(b))]
			c := int64(bytes.Count(part, newline))
			if found+c >= k {
				break
			}
			n, found = n+len(part), found+c
		}
	}
	for n < len(b) && found < k {
		n += bytes.IndexByte(b[n:], '\n') + 1
		found++
	}
	return n, found
}

var newline = []byte{'\n'}

// countLines returns how many lines b has; the last may lack its line feed.
func countLines(b []byte) int64 {
	n := int64(bytes.Count(b, newline))
	if len(b) > 0 && b[len(b)-1] != '\n' {
		n++
	}
	return n
}

// lineOps returns operations that copy only whole lines, equal in both images;
// or nil if ops copy hardly any. What lies between is inserted.
func lineOps(old, new []byte, ops []Op) []Op {
	l := &lineCutter{old: old, new: new}
	p, q := 0, 0
	for _, op := range ops {
		l.copied(p, q, int(op.Copy))
		p, q = p+int(op.Copy+op.Insert), q+int(op.Copy+op.Seek)
	}
	l.copied(p, q, len(new)-p)
	if len(l.ops) == 0 && l.start == l.p {
		return nil
	}
	if l.p == len(new) {
		return append(l.ops, Op{Copy: int64(l.p - l.start)})
	}
	l.to(len(new), l.q)
	return l.ops
}

// lineCutter has a copy that runs from start to p in new and ends at q in old.
type lineCutter struct {
	old, new    []byte
	start, p, q int
	ops         []Op
}

// copied takes the whole lines out of n bytes that are copied from q to p.
func (l *lineCutter) copied(p, q, n int) {
	for end := p + n; p < end; {
		same := min(matchLen(l.new[p:end], l.old[q:]), end-p)
		if from, to := l.whole(p, q, same); from < to {
			l.to(from, q+from-p)
			l.p, l.q = to, q+to-p
		}
		p, q = p+same+1, q+same+1
	}
}

// whole returns the stretch of whole lines in n equal bytes.
func (l *lineCutter) whole(p, q, n int) (from, to int) {
	from, to = p, p+n
	if p > 0 && l.new[p-1] != '\n' || q > 0 && l.old[q-1] != '\n' {
		i := bytes.IndexByte(l.new[from:to], '\n')
		if i < 0 {
			return 0, 0
		}
		from += i + 1
	}
	if to == len(l.new) && q+n == len(l.old) {
		return from, to
	}
	return from, from + bytes.LastIndexByte(l.new[from:to], '\n') + 1
}

// to ends the copy before p; what leads there from its end is an operation.
func (l *lineCutter) to(p, q int) {
	if p != l.p || q != l.q {
		l.ops = append(l.ops, Op{Copy: int64(l.p - l.start), Insert: int64(p - l.p), Seek: int64(q - l.q)})
		l.start = p
	}
}

// recordSize guesses of what size the records of a binary table are: the
// distance at which most bytes of it are alike. 0: it is none.
func recordSize(b []byte) int {
	if isText(b) {
		return 0
	}
	const sample, pieces = 16 << 10, 8
	var alike [unitMax + 1]int
	total := 0
	for i := range pieces {
		at := len(b) / pieces * i
		part := b[at:min(at+sample, len(b))]
		total += len(part)
		for d := 2; d <= unitMax; d++ {
			for j := d; j < len(part); j++ {
				if part[j] == part[j-d] && part[j] != part[j-1] {
					alike[d]++
				}
			}
		}
	}
	best := 0
	for d := 2; d <= unitMax; d++ {
		if alike[d] > alike[best]+alike[best]/8 {
			best = d
		}
	}
	if alike[best] < total/8 {
		return 0
	}
	return best
}
