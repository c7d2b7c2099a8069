// Package bombtest makes bodies that inflate far beyond their size, and bodies of
// a chosen ratio, for the tests of whoever inflates. It checks nothing itself.
package bombtest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math/rand/v2"

	"github.com/klauspost/compress/zstd"
)

// Bomb is one body that no guard may let through.
type Bomb struct {
	Name, Coding string
	Body         []byte // at most 1 MiB
}

// All makes every kind of bomb.
func All() []Bomb {
	zeros := make([]byte, 16<<20)
	gz, zl, raw, zs := Compress("gzip", zeros), Compress("deflate", zeros), deflateRaw(zeros), Compress("zstd", zeros)
	little := make([]byte, 1<<20)
	return []Bomb{
		{"gzip of zeros", "gzip", gz},
		{"gzip of gzip of zeros", "gzip", Compress("gzip", append(bytes.Clone(gz), gz...))}, // one layer comes off: still far too much
		{"gzip of many members", "gzip", bytes.Repeat(Compress("gzip", little), 200)},
		{"gzip that lies about its size", "gzip", lyingGzip(zeros)},
		{"deflate of zeros", "deflate", zl},
		{"bare deflate of zeros", "deflate", raw},
		{"zstd of zeros", "zstd", zs},
		{"zstd of many frames", "zstd", bytes.Repeat(Compress("zstd", little), 200)},
		{"zstd of RLE blocks", "zstd", RLE(1<<17, 4096, 17)},
		{"zstd with a huge window", "zstd", hugeWindow()},
		{"zstd that announces 8 GiB", "zstd", lyingZstd(8 << 30)},
		{"zstd with the largest window allowed", "zstd", RLE(1<<17, 4096, 13)},
		{"zstd behind skippable frames", "zstd", append(bytes.Repeat(skippable(16), 64), zs...)},
	}
}

// Compress compresses with the best ratio of a coding.
func Compress(coding string, plain []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w, _ = gzip.NewWriterLevel(&b, gzip.BestCompression)
	case "deflate":
		w, _ = zlib.NewWriterLevel(&b, zlib.BestCompression)
	default:
		w, _ = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	}
	_, _ = w.Write(plain) // to memory
	_ = w.Close()
	return b.Bytes()
}

func deflateRaw(plain []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = w.Write(plain) // to memory
	_ = w.Close()
	return b.Bytes()
}

// Mix is a body of about size plain bytes whose ratio is just below, or with above
// just above, the given one. Where says where its random part is: "first", "last"
// or "spread".
func Mix(coding, where string, size, ratio int, above bool) (plain, body []byte) {
	rng := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, size)
	_, _ = rng.Read(noise)
	make1 := func(random int) ([]byte, []byte) {
		plain := make([]byte, size)
		switch where {
		case "first":
			copy(plain, noise[:random])
		case "last":
			copy(plain[size-random:], noise[:random])
		default:
			const parts = 64
			for i := range parts {
				at := i * size / parts
				copy(plain[at:at+random/parts], noise[at:])
			}
		}
		return plain, Compress(coding, plain)
	}
	low, high := 0, size // of the random bytes: the ratio falls with them
	for low < high {
		mid := (low + high) / 2
		if _, b := make1(mid); len(b)*ratio < size {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if above {
		for low > 0 {
			low -= max(1, size/512)
			if p, b := make1(max(low, 0)); len(b)*ratio < size {
				return p, b
			}
		}
	}
	for {
		if p, b := make1(min(low, size)); len(b)*ratio >= size {
			return p, b
		}
		low += max(1, size/512)
	}
}

func lyingGzip(plain []byte) []byte {
	b := Compress("gzip", plain)
	binary.LittleEndian.PutUint32(b[len(b)-4:], 12)
	return b
}

const zstdMagic = 0xFD2FB528

// frame begins a frame (RFC 8878 §3.1.1) with a window descriptor: 2 to the power
// of 10 and exponent.
func frame(exponent byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, zstdMagic)
	return append(b, 0, exponent<<3)
}

// RLE is a frame of blocks that repeat one byte so many times each.
func RLE(size, blocks int, exponent byte) []byte {
	b := frame(exponent)
	for i := range blocks {
		head := uint32(size)<<3 | 1<<1
		if i == blocks-1 {
			head |= 1
		}
		b = append(b, byte(head), byte(head>>8), byte(head>>16), 'x')
	}
	return b
}

func hugeWindow() []byte { return append(frame(31), 1, 0, 0) }

// lyingZstd announces a content size in a single segment, which is its window.
func lyingZstd(size uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, zstdMagic)
	b = append(b, 0xE0)
	b = binary.LittleEndian.AppendUint64(b, size)
	return append(b, 3, 0, 0x40, 'x') // one RLE block, the last
}

func skippable(n int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x184D2A50)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, make([]byte, n)...)
}
