package inflate

import (
	"errors"
	"io"
)

// ahead is how much of a body is read before its plain bytes are judged: a body
// whose beginning compresses well is not refused for it. The buffer begins small
// and grows as bytes come, so that a slow body keeps little.
const (
	ahead      = 128 << 10
	aheadLeast = 4 << 10
)

// meter counts the compressed bytes, and reads ahead of the decoder.
type meter struct {
	src  io.Reader
	buf  []byte
	r, w int
	in   int64 // bytes seen
	err  error // of src; io.EOF at its end
}

func newMeter(src io.Reader) *meter { return &meter{src: src} }

// more reads ahead, once. It reports false when there is no room, or nothing more.
func (m *meter) more() bool {
	if m.err != nil || m.w-m.r == ahead {
		return false
	}
	if m.w == len(m.buf) {
		m.makeRoom()
	}
	n, err := m.src.Read(m.buf[m.w:])
	m.w += n
	m.in += int64(n)
	m.err = err
	return n > 0 || err == nil
}

// makeRoom moves what is unread to the front, of a larger buffer if it is full.
func (m *meter) makeRoom() {
	to := m.buf
	if m.r == 0 {
		to = make([]byte, min(ahead, max(aheadLeast, 4*len(m.buf))))
	}
	m.w = copy(to, m.buf[m.r:m.w])
	m.r, m.buf = 0, to
}

// fill sees to it that there is a byte to read.
func (m *meter) fill() error {
	for m.r == m.w {
		m.r, m.w = 0, 0
		if m.err != nil {
			return m.err
		}
		m.more()
	}
	return nil
}

// Read implements io.Reader.
func (m *meter) Read(p []byte) (int, error) {
	if err := m.fill(); err != nil {
		return 0, err
	}
	n := copy(p, m.buf[m.r:m.w])
	m.r += n
	return n, nil
}

// ReadByte implements io.ByteReader, so that decoders take no more than is theirs.
func (m *meter) ReadByte() (byte, error) {
	if err := m.fill(); err != nil {
		return 0, err
	}
	m.r++
	return m.buf[m.r-1], nil
}

// ended reports whether all has been read.
func (m *meter) ended() bool { return errors.Is(m.fill(), io.EOF) }

// failed is what src failed with, apart from its end.
func (m *meter) failed() error {
	if m.err != nil && !errors.Is(m.err, io.EOF) {
		return m.err
	}
	return nil
}
