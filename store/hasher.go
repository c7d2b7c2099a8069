package store

// Hasher is an io.Writer that hashes a stream of any length and any split. It holds at most one group of it.
// The zero value is ready for use.
type Hasher struct {
	tree TreeHasher
	tail []byte // begun group: less than GroupSize bytes
}

// Write takes the next bytes; it never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	n := len(p)
	for len(h.tail)+len(p) >= GroupSize {
		if len(h.tail) == 0 { // a whole group in p is hashed where it lies
			h.tree.Add(p[:GroupSize])
			p = p[GroupSize:]
			continue
		}
		missing := GroupSize - len(h.tail)
		h.tree.Add(append(h.tail, p[:missing]...))
		h.tail, p = h.tail[:0], p[missing:]
	}
	h.tail = append(h.tail, p...)
	return n, nil
}

// Sum returns the address of the bytes written so far. More may be written afterwards.
func (h *Hasher) Sum() Address {
	tree := h.tree // Add never writes into the chaining values already there, so a copy can be finished
	if len(h.tail) > 0 {
		tree.cvs = tree.cvs[:len(tree.cvs):len(tree.cvs)]
		tree.Add(h.tail)
	}
	a, _ := tree.Sum()
	return a
}
