package inflate

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Memory of zstd decoders. A decoder keeps its window; most bodies of up to 1 MiB
// need no more than that. The larger ones work a few at a time.
const (
	smallWindow = 1 << 20
	largeWindow = 8 << 20 // what every decoder should support (RFC 8878 §3.1.1.1.2)
	maxLarge    = 4
	maxSmall    = 32
	decoderWait = 2 * time.Second
)

// class is decoders of one size of window.
type class struct {
	window uint64
	room   chan struct{}
	pool   sync.Pool
}

// Guard lends decoders to readers, so many at a time.
type Guard struct {
	small, large class
}

// NewGuard makes a guard for one node.
func NewGuard() *Guard {
	return &Guard{
		small: class{window: smallWindow, room: make(chan struct{}, maxSmall)},
		large: class{window: largeWindow, room: make(chan struct{}, maxLarge)},
	}
}

// zstd takes a decoder for a body that begins with head. Whoever finds none waits,
// though not long: those at work have had the first 128 KiB of their bodies, mostly
// the whole.
func (g *Guard) zstd(ctx context.Context, src io.Reader, head []byte) (io.Reader, func(), error) {
	none := func() {}
	c := &g.small
	var h zstd.Header
	if err := h.Decode(head); err == nil && !h.Skippable && (h.WindowSize > smallWindow || h.SingleSegment && h.FrameContentSize > smallWindow) {
		c = &g.large
	}
	ctx, cancel := context.WithTimeoutCause(ctx, decoderWait, ErrBusy)
	defer cancel()
	select {
	case c.room <- struct{}{}:
	case <-ctx.Done():
		return nil, none, context.Cause(ctx)
	}
	d, err := c.decoder(src)
	if err != nil {
		<-c.room
		return nil, none, err
	}
	return d, func() {
		_ = d.Reset(nil) // lets go of src; a decoder without a source cannot fail
		c.pool.Put(d)
		<-c.room
	}, nil
}

func (c *class) decoder(src io.Reader) (*zstd.Decoder, error) {
	if d, ok := c.pool.Get().(*zstd.Decoder); ok {
		return d, d.Reset(src)
	}
	return zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(c.window))
}

// All inflates a whole payload at once, as NewReader would. The answer is the
// caller's.
func (g *Guard) All(ctx context.Context, payload []byte, coding string, b Bounds) ([]byte, error) {
	r, err := g.NewReader(ctx, &slice{payload}, coding, b)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// slice reads a payload that is all there.
type slice struct{ left []byte }

// Read implements io.Reader.
func (s *slice) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}
