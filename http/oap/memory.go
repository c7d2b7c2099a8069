package oap

// keep counts what a START makes the node keep, where that is much, before any
// handler could say whether it wants it.
func (s *session) keep(f *Frame) (kept int64, err error) {
	switch n := len(f.Payload); {
	case n <= maxVerb:
		return 0, nil
	case f.Flags&FlagEnd == 0 || n > MaxVerb:
		return 0, ErrVerbTooLarge
	default:
		kept = int64(n)
	}
	if s.o.Memory.Add(kept) > s.o.MemoryMax {
		s.o.Memory.Add(-kept)
		return 0, ErrNoMemory
	}
	return kept, nil
}

// grown counts the buffer of a large frame while it arrives.
func (s *session) grown() error {
	n := int64(len(s.dec.buf))
	if n <= bufferKept {
		n = 0
	}
	more := n - s.buffer
	s.buffer = n
	if s.o.Memory.Add(more) > s.o.MemoryMax && more > 0 {
		return ErrNoMemory
	}
	return nil
}
