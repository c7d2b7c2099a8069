package store

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// idleReads is how often in a row a source may return nothing before it is given up.
const idleReads = 100

// ErrBadRead says that a source returned a count that no reader may.
var ErrBadRead = errors.New("source returned an impossible count")

// Body reads the body of a Put group by group and holds it against its options: every tier refuses the same bodies.
type Body struct {
	src      io.Reader
	opt      PutOptions
	total    int64
	ended    bool // src said io.EOF
	overread [1]byte
}

// NewBody reads src under the options of a Put.
func NewBody(src io.Reader, opt PutOptions) Body { return Body{src: src, opt: opt} }

// Declared reports whether the length was known beforehand.
func (b *Body) Declared() bool { return b.opt.Size >= 0 }

// Total is how many bytes have been read.
func (b *Body) Total() int64 { return b.total }

// Room is how long a buffer Next wants, 0 when the body is at its end.
func (b *Body) Room() int64 {
	switch {
	case b.ended:
		return 0
	case b.Declared():
		return min(GroupSize, b.opt.Size-b.total)
	default:
		return GroupSize
	}
}

// Next fills room, which has the length that Room said, with the next group and returns its length; only the last group is
// shorter than GroupSize. Errors: ErrTooLarge, those of src, ctx's.
func (b *Body) Next(ctx context.Context, room []byte) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("after %d bytes: %w", b.total, err)
	}
	if left := b.opt.MaxSize - b.total; b.opt.MaxSize > 0 && left < int64(len(room)) {
		room = room[:left+1] // one byte more than allowed is enough to know
	}
	n, err := b.fill(room)
	b.total += int64(n)
	switch {
	case err != nil:
		return n, fmt.Errorf("source failed after %d bytes: %w", b.total, err)
	case b.opt.MaxSize > 0 && b.total > b.opt.MaxSize:
		return n, fmt.Errorf("more than %d bytes: %w", b.opt.MaxSize, ErrTooLarge)
	}
	return n, nil
}

// End makes sure that a body ends where it was declared to. Call it when Room is 0. Errors: io.ErrUnexpectedEOF,
// ErrTooLarge, those of src, ctx's.
func (b *Body) End(ctx context.Context) error {
	switch {
	case !b.Declared():
		return nil
	case b.total < b.opt.Size:
		return fmt.Errorf("ended after %d of %d declared bytes: %w", b.total, b.opt.Size, io.ErrUnexpectedEOF)
	case b.ended:
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("after %d bytes: %w", b.total, err)
	}
	n, err := b.fill(b.overread[:])
	switch {
	case err != nil:
		return fmt.Errorf("source failed after %d bytes: %w", b.total, err)
	case n > 0:
		return fmt.Errorf("more than the %d declared bytes: %w", b.opt.Size, ErrTooLarge)
	}
	return nil
}

// fill reads until p is full or src ends. Unlike io.ReadFull it keeps apart a clean end and an io.ErrUnexpectedEOF of src,
// and lets no error pass that came with the last byte.
func (b *Body) fill(p []byte) (n int, err error) {
	for idle := 0; n < len(p) && !b.ended; {
		m, err := b.src.Read(p[n:])
		if m < 0 || m > len(p)-n {
			return n, ErrBadRead
		}
		n += m
		switch {
		case err == io.EOF:
			b.ended = true
		case err != nil:
			return n, err
		case m > 0:
			idle = 0
		default:
			if idle++; idle == idleReads {
				return n, io.ErrNoProgress
			}
		}
	}
	return n, nil
}
