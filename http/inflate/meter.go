package inflate

import (
	"errors"
	"io"
	"sync"
)

// ahead is how much of a body is read before its plain bytes are judged: a body
// whose beginning compresses well is not refused for it.
const ahead = 64 << 10

// meter counts the compressed bytes, and reads ahead of the decoder.
type meter struct {
	src  io.Reader
	pool *sync.Pool
	buf  *[ahead]byte
	r, w int
	in   int64 // bytes seen
	err  error // of src; io.EOF at its end
}

func newMeter(src io.Reader, pool *sync.Pool) *meter {
	buf, ok := pool.Get().(*[ahead]byte)
	if !ok {
		buf = new([ahead]byte)
	}
	return &meter{src: src, pool: pool, buf: buf}
}

func (m *meter) close() {
	if m.buf != nil {
		m.pool.Put(m.buf)
		m.buf = nil
	}
}

// more reads ahead, once. It reports false when there is no room, or nothing more.
func (m *meter) more() bool {
	if m.err != nil || m.w-m.r == ahead {
		return false
	}
	if m.w == ahead {
		m.w = copy(m.buf[:], m.buf[m.r:m.w])
		m.r = 0
	}
	n, err := m.src.Read(m.buf[m.w:])
	m.w += n
	m.in += int64(n)
	m.err = err
	return n > 0 || err == nil
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
