package delta

// stepLines carries out one operation that counts lines.
func (a *applier) stepLines() error {
	c := a.packed.c
	if err := a.copyLines(a.packed.copies.code(c, 0)); err != nil {
		return err
	}
	inserted := a.packed.insert.code(c, 0)
	if err := a.within(inserted, "inserts"); err != nil {
		return err
	}
	skipped := a.packed.seek.code(c, 0)
	if a.dec.err != nil {
		return a.dec.err
	}
	if err := a.insert(inserted, a.inserts == nil); err != nil {
		return err
	}
	if err := a.skipLines(skipped); err != nil {
		return err
	}
	if inserted > 0 || skipped > 0 {
		return nil
	}
	by := a.packed.move.codeSigned(c, 0)
	if err := a.seekable(by); err != nil {
		return err
	}
	a.pos += by
	return nil
}

// copyLines copies n lines. Their line feeds are counted in the buffer, so that
// no byte of old is read twice; of a copy longer than that, where they stand in
// the output.
func (a *applier) copyLines(n int64) error {
	for long := false; n > 0; {
		room, err := a.room()
		if err != nil {
			return err
		}
		most := min(int64(len(room)), a.newSize-a.written, a.old.size-a.pos)
		if most == 0 {
			return a.fail(corrupt("it copies %d lines beyond the end of an image", n))
		}
		part := room[:most]
		if long {
			err = a.readOld(part)
		} else {
			part, err = a.peek(most)
		}
		if err != nil {
			return err
		}
		size, found := upTo(part, n)
		if !long {
			copy(room, part[:size])
		}
		ended := part[size-1] == '\n' // of old: differences come now, and may be in part
		if err := a.differ(room[:size]); err != nil {
			return err
		}
		long = size == len(part) && size >= oldBuffer/4
		a.out = a.out[:len(a.out)+size]
		a.pos += int64(size)
		a.written += int64(size)
		if n -= found; a.pos == a.old.size && !ended {
			n--
		}
	}
	return nil
}

// skipLines moves on in old by n lines. All skips together pass over as many
// bytes as old has at most, so that they cost no more than reading it.
func (a *applier) skipLines(n int64) error {
	for n > 0 {
		if a.pos == a.old.size {
			return corrupt("it skips %d lines too many", n)
		}
		part, err := a.peek(oldBuffer)
		if err != nil {
			return err
		}
		size, found := upTo(part, n)
		a.pos += int64(size)
		if a.skipped += int64(size); a.skipped > a.old.size {
			return corrupt("its skips pass over more bytes than the old image has")
		}
		if n -= found; a.pos == a.old.size && part[size-1] != '\n' {
			n--
		}
	}
	return nil
}
