package delta

// packer codes the packed stream.
type packer struct {
	columns
	old, new []byte
	flags    byte
	enc      *rangeEncoder
	p        *packed
	pos, at  int64 // in old and new
	skipped  int64 // bytes passed over by skips of lines
	left     int64 // bytes copied since the last difference
	known    bool  // the gap to the next difference was coded
}

func (c columns) pack(old, new []byte, ops []Op, h header) []byte {
	enc := newRangeEncoder()
	k := &packer{columns: c, old: old, new: new, flags: h.flags, enc: enc, p: newPacked(enc, h.flags, h.unit, int64(len(new)))}
	for _, op := range ops {
		k.p.another(true)
		if h.unit == unitLines {
			k.lines(op)
		} else {
			k.bytes(op)
		}
	}
	k.p.another(false)
	k.copyRun(int64(len(new)) - k.at)
	return enc.finish()
}

// bytes codes an operation that counts bytes, or records of one size.
func (k *packer) bytes(op Op) {
	k.p.copies.code(k.enc, op.Copy)
	k.copyRun(op.Copy)
	k.p.insert.code(k.enc, op.Insert)
	k.p.seek.codeSigned(k.enc, op.Seek)
	k.text(op.Insert)
	k.pos += op.Seek
}

// lines codes an operation that counts lines. A move that is no skip of lines
// is the only thing that an operation without insertion and skip can be: one
// back, or one on over what skips have passed over already.
func (k *packer) lines(op Op) {
	k.p.copies.code(k.enc, countLines(k.new[k.at:k.at+op.Copy]))
	k.copyRun(op.Copy)
	inserted := op.Insert
	if k.flags&flagInserts == 0 {
		inserted = countLines(k.new[k.at : k.at+op.Insert])
	}
	k.p.insert.code(k.enc, inserted)
	skip := max(op.Seek, 0)
	if k.skipped+skip > int64(len(k.old)) {
		skip = 0
	}
	k.skipped += skip
	k.p.seek.code(k.enc, countLines(k.old[k.pos:k.pos+skip]))
	k.text(op.Insert)
	k.pos += skip
	move := op.Seek - skip
	if move == 0 && op.Insert+op.Seek > 0 {
		return
	}
	if op.Insert > 0 {
		k.p.another(true)
		k.p.copies.code(k.enc, 0)
		k.p.insert.code(k.enc, 0)
		k.p.seek.code(k.enc, 0)
	}
	k.p.move.codeSigned(k.enc, move)
	k.pos += move
}

// copyRun codes the differences within the next n copied bytes.
func (k *packer) copyRun(n int64) {
	end := k.at + n
	for m := k.p.diff; k.flags&flagSparse != 0 && k.at < end; {
		if m.near == reach {
			if !k.known {
				k.known = true
				if len(k.diffs) == 0 {
					m.gap(k.enc, 0)
				} else {
					m.gap(k.enc, uint64(k.diffs[0].gap-k.left)+1)
				}
			}
			if len(k.diffs) == 0 {
				break
			}
			skip := min(k.diffs[0].gap-k.left, end-k.at)
			k.forward(skip)
			if k.at == end {
				return
			}
			k.known = false
			k.differ()
			continue
		}
		if len(k.diffs) == 0 || k.diffs[0].gap > k.left {
			m.differs(k.enc, 0, k.old[k.pos], before(k.new[:k.at]))
			m.pass()
			k.forward(1)
			continue
		}
		m.differs(k.enc, 1, k.old[k.pos], before(k.new[:k.at]))
		k.differ()
	}
	k.forward(end - k.at)
}

func (k *packer) forward(n int64) { k.pos, k.at, k.left = k.pos+n, k.at+n, k.left+n }

func (k *packer) differ() {
	k.p.diff.value(k.enc, k.diffs[0].value, k.old[k.pos], before(k.new[:k.at]))
	k.diffs = k.diffs[1:]
	k.pos, k.at, k.left = k.pos+1, k.at+1, 0
}

// before returns the last four bytes of b, the newest lowest; what is not there is 0.
func before(b []byte) uint32 {
	var v uint32
	for _, x := range b[max(len(b)-4, 0):] {
		v = v<<8 | uint32(x)
	}
	return v
}

// text codes n inserted bytes, unless a section holds them.
func (k *packer) text(n int64) {
	if k.flags&flagInserts == 0 && n > 0 {
		k.p.text.prepare(k.pos, int64(len(k.old)), func(at, n int64) ([]byte, error) { return k.old[at : at+n], nil })
		for _, b := range k.new[k.at : k.at+n] {
			k.p.text.code(k.enc, b)
		}
	}
	k.at += n
}
