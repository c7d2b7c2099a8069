package inflate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"micronode/http/inflate"
	"micronode/http/inflate/bombtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	guard   = inflate.NewGuard()
	bounds  = inflate.Bounds{Ratio: 10, MaxBytes: 8 << 20}
	codings = []string{"gzip", "deflate", "zstd"}
)

func all(src io.Reader, coding string, b inflate.Bounds) ([]byte, error) {
	r, err := guard.NewReader(context.Background(), src, coding, b)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestCoding(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "GZIP": "gzip", "x-gzip": "gzip", " deflate ": "deflate", "zstd": "zstd", "identity, gzip": "!", "gzip,": "gzip",
		"br": "!", "gzip, gzip": "!", "gzip,zstd": "!", "compress": "!", "gzip;q=1": "!", "gzip|zstd": "!",
	} {
		got, err := inflate.Coding(strings.Split(text, "|"))
		if want == "!" {
			if !errors.Is(err, inflate.ErrCoding) {
				t.Errorf("%q: %q, %v", text, got, err)
			}
		} else if got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rng := rand.NewChaCha8([32]byte{})
	for _, coding := range codings {
		for _, n := range []int{0, 1, 100, 65535, 65536, 65537, 1 << 20, 8 << 20} {
			plain := make([]byte, n)
			_, _ = rng.Read(plain)
			body := bombtest.Compress(coding, plain)
			for name, src := range map[string]io.Reader{"whole": bytes.NewReader(body), "halves": iotest.HalfReader(bytes.NewReader(body)), "with its end": iotest.DataErrReader(bytes.NewReader(body))} {
				if got, err := all(src, coding, bounds); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s of %d bytes, %s: %d bytes, %v", coding, n, name, len(got), err)
				}
			}
		}
	}
}

// 9:1 passes, 11:1 does not, wherever the part is that compresses well.
func TestRatio(t *testing.T) {
	for _, coding := range codings {
		for _, size := range []int{10 << 10, 100 << 10, 500 << 10, 4 << 20} {
			if raced && size > 1<<20 {
				continue // the same at the pace of the race detector
			}
			for _, where := range []string{"first", "spread", "last"} {
				if where == "last" && size > 1200<<10 {
					continue // beyond what is looked ahead for
				}
				plain, body := bombtest.Mix(coding, where, size, 9, false)
				if got, err := all(bytes.NewReader(body), coding, bounds); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s %d %s at %.2f:1: %v", coding, size, where, float64(size)/float64(len(body)), err)
				}
				_, body = bombtest.Mix(coding, where, size, 11, true)
				if got, err := all(bytes.NewReader(body), coding, bounds); !errors.Is(err, inflate.ErrBound) {
					t.Errorf("%s %d %s at %.2f:1: %d bytes, %v", coding, size, where, float64(size)/float64(len(body)), len(got), err)
				}
			}
		}
	}
}

func TestAbsoluteBound(t *testing.T) {
	b := inflate.Bounds{Ratio: 1000, MaxBytes: 1 << 20}
	for _, coding := range codings {
		for n, want := range map[int]error{1 << 20: nil, 1<<20 + 1: inflate.ErrBound} {
			rng := rand.NewChaCha8([32]byte{})
			plain := make([]byte, n)
			_, _ = rng.Read(plain)
			got, err := all(bytes.NewReader(bombtest.Compress(coding, plain)), coding, b)
			if !errors.Is(err, want) || int64(len(got)) > b.MaxBytes {
				t.Errorf("%s of %d bytes: %d bytes, %v", coding, n, len(got), err)
			}
		}
	}
}

func TestBombs(t *testing.T) {
	for _, bomb := range bombtest.All() {
		r, err := guard.NewReader(t.Context(), bytes.NewReader(bomb.Body), bomb.Coding, bounds)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if !errors.Is(err, inflate.ErrBound) || n > 10*r.Compressed() {
			t.Errorf("%s (%d bytes): %d bytes of %d came out, then %v", bomb.Name, len(bomb.Body), n, r.Compressed(), err)
		}
		r.Close()
	}
}

// Sixty-four bombs at once are refused in little memory.
func TestBombsInLittleMemory(t *testing.T) {
	bombs := bombtest.All()
	debug.FreeOSMemory()
	before := resident(t)
	var at sync.WaitGroup
	for i := range 64 {
		at.Go(func() {
			bomb := bombs[i%len(bombs)]
			if _, err := all(bytes.NewReader(bomb.Body), bomb.Coding, bounds); !errors.Is(err, inflate.ErrBound) {
				t.Errorf("%s: %v", bomb.Name, err)
			}
		})
	}
	at.Wait()
	grown := resident(t) - before
	t.Logf("64 bombs: %d KiB more", grown>>10)
	if grown > 64<<20 && !raced {
		t.Errorf("64 bombs took %d MiB", grown>>20)
	}
}

func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// A body that is cut anywhere, or goes on behind its end, is corrupt.
func TestTruncatedAndTrailing(t *testing.T) {
	plain := []byte(strings.Repeat("the quick brown fox ", 40))
	for _, coding := range codings {
		body := bombtest.Compress(coding, plain)
		for n := range len(body) {
			if got, err := all(bytes.NewReader(body[:n]), coding, inflate.Bounds{Ratio: 1000, MaxBytes: 1 << 20}); !errors.Is(err, inflate.ErrCorrupt) {
				t.Errorf("%s cut at %d of %d: %d bytes, %v", coding, n, len(body), len(got), err)
			}
		}
		for _, tail := range []string{"\x00", "garbage", "\x1f\x8b"} {
			if _, err := all(strings.NewReader(string(body)+tail), coding, inflate.Bounds{Ratio: 1000, MaxBytes: 1 << 20}); !errors.Is(err, inflate.ErrCorrupt) {
				t.Errorf("%s with %q behind: %v", coding, tail, err)
			}
		}
	}
	if got, err := all(strings.NewReader(string(bombtest.Compress("gzip", plain))+string(bombtest.Compress("gzip", plain))), "gzip", inflate.Bounds{Ratio: 1000, MaxBytes: 1 << 20}); err != nil || len(got) != 2*len(plain) {
		t.Errorf("two members: %d bytes, %v", len(got), err)
	}
}

// What the source fails with is told as it is, and no decoder is kept for it.
func TestSourceFails(t *testing.T) {
	broken := errors.New("the line is dead")
	rng := rand.NewChaCha8([32]byte{})
	plain := make([]byte, 300<<10)
	_, _ = rng.Read(plain)
	for _, coding := range codings {
		body := bombtest.Compress(coding, plain)
		for _, n := range []int{0, 3, 140 << 10, len(body)} {
			for range 80 { // more than there are decoders
				src := io.MultiReader(bytes.NewReader(body[:n]), iotest.ErrReader(broken))
				if _, err := all(src, coding, bounds); !errors.Is(err, broken) {
					t.Fatalf("%s after %d bytes: %v", coding, n, err)
				}
			}
		}
	}
}

func TestReadAfterClose(t *testing.T) {
	r, err := guard.NewReader(t.Context(), strings.NewReader("x"), "gzip", bounds)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("read after Close")
	}
	if _, err := guard.NewReader(t.Context(), nil, "br", bounds); !errors.Is(err, inflate.ErrCoding) {
		t.Error(err)
	}
}

// However the body comes, the outcome is the same, and within the bounds.
func FuzzReader(f *testing.F) {
	for i, coding := range codings {
		f.Add(byte(i), bombtest.Compress(coding, []byte("hello")))
		f.Add(byte(i), bombtest.Compress(coding, make([]byte, 4096)))
	}
	f.Add(byte(2), bombtest.RLE(1<<17, 3, 7))
	for _, b := range bombtest.All() {
		if len(b.Body) < 4096 {
			f.Add(byte(2), b.Body)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		coding, b := codings[int(which)%len(codings)], inflate.Bounds{Ratio: 10, MaxBytes: 1 << 20}
		got, err := all(bytes.NewReader(body), coding, b)
		if int64(len(got)) > b.MaxBytes || len(got) > 10*len(body) {
			t.Fatalf("%d bytes of %d", len(got), len(body))
		}
		again, err2 := all(iotest.OneByteReader(bytes.NewReader(body)), coding, b)
		if (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(got, again) {
			t.Fatalf("at once: %d bytes, %v; byte by byte: %d bytes, %v", len(got), err, len(again), err2)
		}
		if err != nil && !errors.Is(err, inflate.ErrBound) && !errors.Is(err, inflate.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	for _, coding := range codings {
		for _, size := range []int{4 << 10, 1 << 20} {
			plain, body := bombtest.Mix(coding, "spread", size, 4, false)
			b.Run(fmt.Sprintf("%s/%d", coding, size), func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				b.ReportAllocs()
				for b.Loop() {
					r, _ := guard.NewReader(b.Context(), bytes.NewReader(body), coding, bounds)
					if _, err := io.Copy(io.Discard, r); err != nil {
						b.Fatal(err)
					}
					r.Close()
				}
			})
		}
	}
}
