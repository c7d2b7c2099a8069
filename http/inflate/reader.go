package inflate

import (
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Bounds of one body.
type Bounds struct {
	Ratio    int   // plain bytes to compressed ones
	MaxBytes int64 // plain bytes
}

// Reader inflates one body. It is for one goroutine.
type Reader struct {
	ctx    context.Context // of the request that the body belongs to: who waits for a decoder waits as long
	guard  *Guard
	coding string
	bounds Bounds
	meter  *meter
	plain  io.Reader
	done   func() // gives the decoder back
	out    int64
	err    error
}

// NewReader reads src, which is in a coding that [Coding] named. The caller calls
// Close. Errors of Read: [ErrBound], [ErrCorrupt], [ErrBusy], the error of ctx, or
// that of src as it is.
func (g *Guard) NewReader(ctx context.Context, src io.Reader, coding string, b Bounds) (*Reader, error) {
	switch coding {
	case Gzip, Deflate, Zstd:
	default:
		return nil, ErrCoding
	}
	return &Reader{ctx: ctx, guard: g, coding: coding, bounds: b, meter: newMeter(src), done: func() {}}, nil
}

// Close gives back what the reader was lent.
func (r *Reader) Close() {
	r.done()
	r.done = func() {}
	r.err = errClosed
}

var errClosed = errors.New("inflate: read after Close")

// Compressed is how many bytes have been read.
func (r *Reader) Compressed() int64 { return r.meter.in }

// Inflated is how many plain bytes came out.
func (r *Reader) Inflated() int64 { return r.out }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.plain == nil {
		if r.err = r.start(); r.err != nil {
			return 0, r.err
		}
	}
	if room := r.bounds.MaxBytes - r.out; int64(len(p)) > room {
		p = p[:room+1] // one byte more than allowed is enough to know
	}
	n, err := r.plain.Read(p)
	r.out += int64(n)
	switch {
	case r.out > r.bounds.MaxBytes || !r.balanced():
		r.err = ErrBound
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		r.err = r.fault(err)
	case !r.meter.ended():
		r.err = r.fault(ErrCorrupt)
	default:
		r.err = io.EOF
		return n, io.EOF
	}
	if failed := r.meter.failed(); failed != nil {
		r.err = failed
	}
	return 0, r.err
}

// balanced reports whether what came out is in proportion to what went in, if
// need be after a look ahead.
func (r *Reader) balanced() bool {
	for r.out > r.meter.in*int64(r.bounds.Ratio) {
		if !r.meter.more() {
			return false
		}
	}
	return true
}

// start reads ahead, as far as a decoder may be held up for, and takes one.
func (r *Reader) start() (err error) {
	for r.meter.more() {
	}
	head := r.meter.buf[r.meter.r:r.meter.w]
	if failed := r.meter.failed(); failed != nil {
		return failed
	}
	if len(head) == 0 {
		return ErrCorrupt
	}
	switch r.coding {
	case Gzip:
		r.plain, err = gzip.NewReader(r.meter)
	case Deflate:
		if zlibHeader(head) {
			r.plain, err = zlib.NewReader(r.meter)
		} else {
			r.plain = flate.NewReader(r.meter)
		}
	default:
		r.plain, r.done, err = r.guard.zstd(r.ctx, r.meter, head)
	}
	if err != nil {
		return r.fault(err)
	}
	return nil
}

// zlibHeader tells zlib's format, which deflate means, from bare deflate, which
// some clients send (RFC 9110 §8.4.1.2, RFC 1950 §2.2).
func zlibHeader(head []byte) bool {
	return len(head) >= 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0
}

// fault puts a decoder's error into the words of this package.
func (r *Reader) fault(err error) error {
	if failed := r.meter.failed(); failed != nil {
		return failed
	}
	switch {
	case errors.Is(err, ErrBusy), r.ctx.Err() != nil && errors.Is(err, r.ctx.Err()):
		return err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return ErrBound
	}
	return ErrCorrupt
}
