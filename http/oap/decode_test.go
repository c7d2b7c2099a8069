package oap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"micronode/http/inflate"
	"micronode/http/inflate/bombtest"
	"micronode/http/oap"
)

// squeeze is COMP of p.
func squeeze(t testing.TB, p []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(p, nil)
}

func drawFrame(t *rapid.T) oap.Frame {
	f := oap.Frame{
		Flags: uint16(rapid.IntRange(0, 0xff).Draw(t, "flags")) &^ oap.FlagComp,
		Code:  rapid.Uint16().Draw(t, "code"), App: rapid.Uint16().Draw(t, "app"), Corr: rapid.Uint64().Draw(t, "corr"),
		Payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"),
	}
	copy(f.Tenant[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "tenant"))
	if f.Flags&oap.FlagStart != 0 {
		f.Cap = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "cap")
	}
	return f
}

// TestRoundTrip: what was encoded comes back, however the bytes are cut.
func TestRoundTrip(t *testing.T) {
	guard := inflate.NewGuard()
	rapid.Check(t, func(rt *rapid.T) {
		frames := rapid.SliceOfN(rapid.Custom(drawFrame), 0, 6).Draw(rt, "frames")
		var wire []byte
		for i := range frames {
			wire = oap.AppendFrame(wire, &frames[i])
		}
		got := segmented(t, decoder(guard), wire, func(n int) int { return rapid.IntRange(1, n).Draw(rt, "cut") })
		if got.verdict() != "ok" {
			rt.Fatalf("%s: %v", got.verdict(), got.fault)
		}
		if diff := cmp.Diff(frames, got.frames, cmpopts.EquateEmpty()); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// segmented feeds wire in pieces and takes frames in between.
func segmented(t testing.TB, dec *oap.Decoder, wire []byte, cut func(n int) int) (d drained) {
	t.Helper()
	for len(wire) > 0 {
		n := cut(len(wire))
		dec.Feed(wire[:n])
		if wire = wire[n:]; !d.drain(t, dec) {
			return d
		}
	}
	return d
}

// sameBut reports whether two verdicts agree, but for a bad length, which is seen
// with the first four bytes when no more are there yet.
func sameBut(whole, cut drained) bool {
	same := func(a, b oap.Frame) bool {
		return bytes.Equal(oap.AppendFrame(nil, &a), oap.AppendFrame(nil, &b))
	}
	if !slices.EqualFunc(whole.frames, cut.frames, same) {
		return false
	}
	return whole.fault == cut.fault || cut.fault == oap.ErrFrameTooLarge && (whole.fault == oap.ErrBadFlags || whole.fault == oap.ErrBadVersion)
}

// TestVectorsByteByByte: where the bytes are cut makes no difference.
func TestVectorsByteByByte(t *testing.T) {
	guard := inflate.NewGuard()
	for _, v := range vectors(t) {
		in := v.input(t)
		dec := decoder(guard)
		dec.Feed(in)
		var whole drained
		whole.drain(t, dec)
		for _, size := range []int{1, 3, 37, 38, 4096} {
			if size == 1 && len(in) > 100_000 {
				continue
			}
			if cut := segmented(t, decoder(guard), in, func(n int) int { return min(n, size) }); !sameBut(whole, cut) {
				t.Errorf("%s in pieces of %d: %v and %d frames, whole: %v and %d", v.Name, size, cut.fault, len(cut.frames), whole.fault, len(whole.frames))
			}
		}
	}
}

// TestEarlyLength: four bytes tell a bad length; a good header is checked before
// the body is there.
func TestEarlyLength(t *testing.T) {
	head := oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq, Corr: 9})
	edit := func(change func(b []byte)) []byte {
		b := slices.Clone(head)
		binary.BigEndian.PutUint32(b, 1000)
		change(b)
		return b
	}
	for _, test := range []struct {
		name string
		in   []byte
		want *oap.Fault
		corr uint64
	}{
		{"zero", []byte{0, 0, 0, 0}, oap.ErrFrameTooLarge, 0},
		{"too large", []byte{0, 16, 0, 1}, oap.ErrFrameTooLarge, 0},
		{"largest", []byte{0, 16, 0, 0}, nil, 0},
		{"three bytes", []byte{255, 255, 255}, nil, 0},
		{"http", []byte("GET / HTTP/1.1\r\n\r\n"), oap.ErrFrameTooLarge, 0},
		{"header alone", edit(func([]byte) {}), nil, 9},
		{"flags before the body", edit(func(b []byte) { b[6] = 1 }), oap.ErrBadFlags, 9},
		{"version before the body", edit(func(b []byte) { b[5] = 2 }), oap.ErrBadVersion, 9},
		{"flags before version", edit(func(b []byte) { b[5], b[6] = 2, 1 }), oap.ErrBadFlags, 9},
		{"version before length", edit(func(b []byte) { b[0], b[5] = 1, 2 }), oap.ErrBadVersion, 9},
		{"length before cap", edit(func(b []byte) { b[0], b[29] = 1, 2 }), oap.ErrFrameTooLarge, 9},
		{"cap before the body", edit(func(b []byte) { b[29] = 2 }), oap.ErrCapOnNonStart, 9},
		{"cap before a short length", edit(func(b []byte) { binary.BigEndian.PutUint32(b, 5); b[29] = 2 }), oap.ErrCapOnNonStart, 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			dec := decoder(inflate.NewGuard())
			dec.Feed(oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq, Corr: 5}))
			dec.Feed(test.in)
			if _, ok, err := dec.Next(context.Background()); !ok || err != nil {
				t.Fatal(ok, err)
			}
			_, ok, err := dec.Next(context.Background())
			var fault *oap.Fault
			errors.As(err, &fault)
			if ok || fault != test.want || dec.Left() != len(test.in) {
				t.Errorf("ok %v, fault %v, %d left; want %v, %d", ok, fault, dec.Left(), test.want, len(test.in))
			}
			if test.corr != 0 && dec.Corr() != test.corr {
				t.Errorf("corr %d, want %d", dec.Corr(), test.corr)
			}
		})
	}
}

// random bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(0x9e3779b97f4a7c15)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// TestRatio: 9:1 passes, 11:1 does not, exactly the bound does.
func TestRatio(t *testing.T) {
	guard := inflate.NewGuard()
	for _, size := range []int{2_000, 20_000, 90_000} {
		body := func(ratio int) []byte { // about ratio:1
			plain := append(noise(size/ratio), make([]byte, size-size/ratio)...)
			return squeeze(t, plain)
		}
		for _, test := range []struct {
			name  string
			comp  []byte
			ratio int
			max   int64
			want  *oap.Fault
		}{
			{"9:1", body(9), 10, 8 << 20, nil},
			{"12:1", body(12), 10, 8 << 20, oap.ErrInflateBound},
			{"any ratio", squeeze(t, make([]byte, size)), 0, 8 << 20, nil},
			{"at the bound", body(5), 10, int64(size), nil},
			{"beyond the bound", body(5), 10, int64(size) - 1, oap.ErrInflateBound},
			{"cut", body(5)[:size/10], 10, 8 << 20, oap.ErrInflate},
			{"followed", append(body(5), 'x'), 10, 8 << 20, oap.ErrInflate},
		} {
			dec := &oap.Decoder{Ratio: test.ratio, InflateMax: test.max, Guard: guard}
			dec.Feed(oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagComp, Payload: test.comp}))
			var got drained
			got.drain(t, dec)
			if got.fault != test.want || test.want == nil && len(got.frames[0].Payload) != size {
				t.Errorf("%d bytes, %s: %v, want %v", size, test.name, got.fault, test.want)
			}
		}
	}
}

// TestBombs: what the door's guard refuses, COMP refuses, and with a 4xx.
func TestBombs(t *testing.T) {
	guard := inflate.NewGuard()
	tried := 0
	for _, bomb := range bombtest.All() {
		if bomb.Coding != inflate.Zstd || len(bomb.Body) > oap.MaxFrame-oap.HeaderBytes {
			continue
		}
		tried++
		dec := &oap.Decoder{Ratio: 10, InflateMax: 8 << 20, Guard: guard}
		dec.Feed(oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagComp, Payload: bomb.Body}))
		var got drained
		if got.drain(t, dec); got.fault != oap.ErrInflateBound && got.fault != oap.ErrInflate {
			t.Errorf("%s: %v with %d frames", bomb.Name, got.fault, len(got.frames))
		}
	}
	if tried == 0 {
		t.Error("no bombs of zstd")
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		if in := v.input(f); len(in) < 10_000 {
			f.Add(in, uint16(7))
		}
	}
	guard := inflate.NewGuard()
	f.Fuzz(func(t *testing.T, in []byte, step uint16) {
		fresh := func() *oap.Decoder { return &oap.Decoder{Ratio: 10, InflateMax: 1 << 20, Guard: guard} }
		dec := fresh()
		dec.Feed(in)
		var whole drained
		whole.drain(t, dec)
		cut := segmented(t, fresh(), in, func(n int) int { return min(n, int(step)%97+1) })
		if !sameBut(whole, cut) {
			t.Fatalf("cut: %v after %d frames; whole: %v after %d", cut.fault, len(cut.frames), whole.fault, len(whole.frames))
		}
		rest := in
		for i := range whole.frames {
			length := int(binary.BigEndian.Uint32(rest))
			again := oap.AppendFrame(nil, &whole.frames[i])
			if whole.frames[i].Flags&oap.FlagComp == 0 && !bytes.Equal(again, rest[:length]) {
				t.Fatal("encoded again, the frame has other bytes")
			}
			rest = rest[length:]
		}
		if whole.fault == nil && len(rest) != whole.left {
			t.Fatalf("%d left, want %d", whole.left, len(rest))
		}
	})
}
