package oap

import (
	"context"
	"encoding/binary"
	"errors"
	"math"

	"micronode/http/inflate"
)

// Bounds of a decoder's buffer: it grows as bytes come, and shrinks when a large
// frame is done.
const (
	bufferLeast = 4 << 10
	bufferKept  = 128 << 10
)

// Decoder takes frames out of a stream of bytes. It checks in the order of
// contract §7, as soon as the bytes are there.
type Decoder struct {
	Ratio      int            // plain bytes of a COMP payload to its own; 0: any
	InflateMax int64          // plain bytes of a COMP payload
	Guard      *inflate.Guard // lends decoders of zstd

	buf  []byte
	r, w int
	last uint64 // corr_id of the frame at fault, as far as it could be read
}

// Room is where the next bytes may be put; Filled says how many were. Views of
// frames end with it.
func (d *Decoder) Room() []byte {
	switch {
	case d.r == d.w:
		d.r, d.w = 0, 0
		if len(d.buf) > bufferKept {
			d.buf = nil
		}
	case d.w == len(d.buf) && d.r > 0:
		d.w = copy(d.buf, d.buf[d.r:d.w])
		d.r = 0
	}
	if d.w == len(d.buf) {
		larger := make([]byte, min(max(bufferLeast, 2*len(d.buf)), MaxFrame+bufferLeast))
		copy(larger, d.buf[:d.w])
		d.buf = larger
	}
	return d.buf[d.w:]
}

// Filled says that n bytes were put into Room.
func (d *Decoder) Filled(n int) { d.w += n }

// Feed adds bytes.
func (d *Decoder) Feed(p []byte) {
	for len(p) > 0 {
		n := copy(d.Room(), p)
		d.Filled(n)
		p = p[n:]
	}
}

// Left is how many bytes wait: of a frame that is not whole, or behind a fault.
func (d *Decoder) Left() int { return d.w - d.r }

// Corr is the corr_id of the frame that Next failed at, 0 where it could not be read.
func (d *Decoder) Corr() uint64 { return d.last }

// Next takes the next frame. ok is false while it is not whole. An error is a
// [*Fault], or that of ctx while it waits to inflate; after it the stream is lost.
func (d *Decoder) Next(ctx context.Context) (f Frame, ok bool, err error) {
	b := d.buf[d.r:d.w]
	d.last = 0
	if len(b) < 4 {
		return f, false, nil
	}
	length := binary.BigEndian.Uint32(b)
	bad := length == 0 || length > MaxFrame
	if len(b) < HeaderBytes {
		if bad {
			return f, false, ErrFrameTooLarge
		}
		return f, false, nil
	}
	d.last = binary.BigEndian.Uint64(b[30:])
	f.Flags = binary.BigEndian.Uint16(b[6:])
	capLen := int(binary.BigEndian.Uint16(b[28:]))
	switch {
	case f.Flags&^flagsKnown != 0:
		return f, false, ErrBadFlags
	case binary.BigEndian.Uint16(b[4:]) != Version:
		return f, false, ErrBadVersion
	case bad:
		return f, false, ErrFrameTooLarge
	case capLen > 0 && f.Flags&FlagStart == 0:
		return f, false, ErrCapOnNonStart
	case len(b) < int(length):
		return f, false, nil
	}
	d.r += int(length)
	if length < HeaderBytes {
		return f, false, ErrTruncatedHeader
	}
	f.Code = binary.BigEndian.Uint16(b[8:])
	f.App = binary.BigEndian.Uint16(b[10:])
	copy(f.Tenant[:], b[12:])
	f.Corr = d.last
	body := b[HeaderBytes:length]
	if capLen > len(body) {
		return f, false, ErrCapOutOfBounds
	}
	f.Cap, f.Payload = body[:capLen:capLen], body[capLen:]
	if f.Flags&FlagComp != 0 && len(f.Payload) > 0 {
		f.Payload, err = d.inflate(ctx, f.Payload)
	}
	return f, err == nil, err
}

func (d *Decoder) inflate(ctx context.Context, payload []byte) ([]byte, error) {
	ratio := d.Ratio
	if ratio == 0 {
		ratio = math.MaxInt32
	}
	plain, err := d.Guard.All(ctx, payload, inflate.Zstd, inflate.Bounds{Ratio: ratio, MaxBytes: d.InflateMax})
	switch {
	case errors.Is(err, inflate.ErrBound):
		return nil, ErrInflateBound
	case errors.Is(err, inflate.ErrCorrupt):
		return nil, ErrInflate
	}
	return plain, err
}
