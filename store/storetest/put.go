package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"micronode/store"
)

const group = store.GroupSize

// borderSizes lie around chunks and groups, and have odd and even numbers of groups.
func borderSizes() []int {
	sizes := []int{0, 1, 2, 63, 64, 65, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 16383, 16384, 16385}
	for _, n := range []int{1, 2, 3, 5, 7, 8, 16, 17} {
		sizes = append(sizes, n*group-1, n*group, n*group+1)
	}
	return sizes
}

// testGoldens holds the store to the addresses of contract §2.
func testGoldens(t *testing.T, s store.Store) {
	for text, b := range map[string][]byte{
		"b3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262": nil,
		"b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24": []byte("hello world"),
		"b3:3bdeaf8f8e98780b318106aafdc3ca257f73df123d97b69112b26044c91a7d56": make([]byte, 65536),
		"b3:01779fe4dd4c044195009648d5b24ba30a63f3b7c4958529e423a7da3766baf9": make([]byte, 65537),
		"b3:488de202f73bd976de4e7048f4e1f39a776d86d582b7348ff53bf432b987fca8": make([]byte, 1<<20),
	} {
		info := put(t, s, b, store.PutOptions{Size: int64(len(b))}, true)
		if info.Address.String() != text {
			t.Fatalf("%d bytes are kept as %v, want %s", len(b), info.Address, text)
		}
		if !info.Expires.IsZero() {
			t.Fatalf("an object without a time to live expires at %v", info.Expires)
		}
		wantContent(t, s, b)
	}
}

func testSizes(t *testing.T, s store.Store) {
	for _, size := range borderSizes() {
		streamed := content(1, size)
		put(t, s, streamed, store.PutOptions{Size: -1}, size > 0 || !known(t, s, nil))
		wantContent(t, s, streamed)
		if size <= 1<<20 { // the longest declared body that every door takes
			declared := content(2, size)
			put(t, s, declared, store.PutOptions{Size: int64(size)}, size > 0)
			wantContent(t, s, declared)
		}
		if b := mustOpen(t, s, store.Sum(streamed)); b.Info().Size != int64(size) || b.Info().Address != store.Sum(streamed) {
			t.Fatalf("Info of %d bytes: %+v", size, b.Info())
		} else {
			mustClose(t, b)
		}
	}
}

func known(t *testing.T, s store.Store, b []byte) bool {
	t.Helper()
	blob, err := s.Open(t.Context(), store.Sum(b))
	if err != nil {
		return false
	}
	mustClose(t, blob)
	return true
}

// testReaderHabits puts through readers that do all an io.Reader may do.
func testReaderHabits(t *testing.T, s store.Store) {
	habits := map[string]func(io.Reader) io.Reader{
		"one byte at a time":     iotest.OneByteReader,
		"half of what is asked":  iotest.HalfReader,
		"end with the last byte": iotest.DataErrReader,
		"nothing now and then":   func(r io.Reader) io.Reader { return &hesitant{r: r} },
		"scribbles on its room":  func(r io.Reader) io.Reader { return scribbler{r} },
	}
	seed := uint64(10)
	for name, wrap := range habits {
		seed++
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 5000, group, group + 1, 3*group + 7} {
				for _, declared := range []int64{-1, int64(size)} {
					b := content(seed*1000+uint64(declared+1), size)
					_, created, err := s.Put(t.Context(), wrap(stream(b)), store.PutOptions{Size: declared})
					if err != nil || !created {
						t.Fatalf("Put of %d bytes: created %v, %v", size, created, err)
					}
					wantContent(t, s, b)
				}
			}
		})
	}
}

type hesitant struct {
	r    io.Reader
	turn int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.turn++; h.turn%2 == 0 {
		return 0, nil
	}
	return h.r.Read(p[:min(len(p), 1000)])
}

type scribbler struct{ r io.Reader }

func (r scribbler) Read(p []byte) (int, error) {
	n, err := r.r.Read(p[:min(len(p), 3000)])
	for i := range p[n:] {
		p[n+i] = 0xA5
	}
	return n, err
}

func testSameAgain(t *testing.T, s store.Store) {
	for i, size := range []int{0, 100, group, 3*group + 1} {
		b := content(uint64(20+i), size)
		put(t, s, b, store.PutOptions{Size: int64(size)}, true)
		before := usage(s)
		put(t, s, b, store.PutOptions{Size: int64(size)}, false)
		put(t, s, b, store.PutOptions{Size: -1}, false)
		if after := usage(s); after != before {
			t.Fatalf("the same %d bytes again change usage from %+v to %+v", size, before, after)
		}
		wantContent(t, s, b)
	}
}

func testExpect(t *testing.T, s store.Store) {
	for i, size := range []int{0, 10, 2*group + 1} {
		b := content(uint64(30+i), size)
		right, wrong := store.Sum(b), store.Sum([]byte("other"))
		wantRefused(t, s, stream(b), store.PutOptions{Size: -1, Expect: &wrong}, store.ErrMismatch)
		wantRefused(t, s, stream(b), store.PutOptions{Size: int64(size), Expect: &wrong}, store.ErrMismatch)
		wantAbsent(t, s, b)
		wantAbsent(t, s, []byte("other"))
		put(t, s, b, store.PutOptions{Size: -1, Expect: &right}, true)
		wantContent(t, s, b)
	}
}

func testTooLarge(t *testing.T, s store.Store) {
	for i, limit := range []int{1, 100, group - 1, group, group + 1, 3 * group, 3*group + 5} {
		b := content(uint64(40+i), limit+1)
		wantRefused(t, s, stream(b), store.PutOptions{Size: -1, MaxSize: int64(limit)}, store.ErrTooLarge)
		wantRefused(t, s, stream(b), store.PutOptions{Size: int64(limit + 1), MaxSize: int64(limit)}, store.ErrTooLarge)
		wantRefused(t, s, plain{io.MultiReader(stream(b), stream(make([]byte, 4*group)))},
			store.PutOptions{Size: -1, MaxSize: int64(limit)}, store.ErrTooLarge)
		wantAbsent(t, s, b)
		wantAbsent(t, s, b[:limit])
		put(t, s, b[:limit], store.PutOptions{Size: -1, MaxSize: int64(limit)}, true)
		put(t, s, b[:limit], store.PutOptions{Size: int64(limit), MaxSize: int64(limit)}, false)
		wantContent(t, s, b[:limit])
	}
}

func testDeclaredLength(t *testing.T, s store.Store) {
	for i, size := range []int{0, 1, 100, group - 1, group, group + 1, 3 * group} {
		b := content(uint64(50+i), size)
		for _, more := range []int{1, group} {
			if size+more <= 1<<20 {
				wantRefused(t, s, stream(b), store.PutOptions{Size: int64(size + more)}, io.ErrUnexpectedEOF)
				wantAbsent(t, s, b)
			}
		}
	}
}

var errSource = errors.New("the source failed")

// failing gives b, then err, with the last byte when together is set. It says so once: after that it pretends to have ended.
type failing struct {
	b        []byte
	err      error
	together bool
}

func (f *failing) Read(p []byte) (int, error) {
	n := copy(p, f.b)
	f.b = f.b[n:]
	if n > 0 && !(f.together && len(f.b) == 0) {
		return n, nil
	}
	err := f.err
	f.err = io.EOF
	return n, err
}

func testSourceFails(t *testing.T, s store.Store) {
	small, large := content(60, 90), content(61, 200<<10)
	var places []int
	for i := 0; i <= len(large); i += 9973 {
		places = append(places, i)
	}
	for _, border := range []int{group, 2 * group, 3 * group, len(large)} {
		places = append(places, border-1, border, min(border+1, len(large)))
	}
	check := func(t *testing.T, b []byte, at int) {
		t.Helper()
		for _, err := range []error{errSource, io.ErrUnexpectedEOF} {
			for _, together := range []bool{false, true} {
				for _, size := range []int64{-1, int64(len(b))} {
					wantRefused(t, s, &failing{b: b[:at], err: err, together: together}, store.PutOptions{Size: size}, err)
				}
			}
		}
		wantAbsent(t, s, b)
		wantAbsent(t, s, b[:at])
	}
	t.Run("small", func(t *testing.T) {
		for at := range len(small) + 1 {
			check(t, small, at)
		}
	})
	t.Run("200 KiB", func(t *testing.T) {
		for _, at := range places {
			check(t, large, at)
		}
	})
}

func testCancelledPut(t *testing.T, s store.Store) {
	b := content(70, 5*group)
	for _, size := range []int64{-1, int64(len(b))} {
		for _, after := range []int{0, 1, group, 3 * group, len(b)} {
			t.Run(fmt.Sprintf("size %d after %d", size, after), func(t *testing.T) {
				before := usage(s)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				src := &tripping{r: bytes.NewReader(b), left: after, trip: cancel}
				if after == 0 {
					cancel()
				}
				info, created, err := s.Put(ctx, src, store.PutOptions{Size: size})
				if !errors.Is(err, context.Canceled) || created || info != (store.Info{}) {
					t.Fatalf("cancelled Put: %+v, %v, %v", info, created, err)
				}
				if after := usage(s); after != before {
					t.Fatalf("cancelled Put leaves usage %+v, was %+v", after, before)
				}
				wantAbsent(t, s, b)
				wantAbsent(t, s, b[:after])
			})
		}
	}
}

// tripping calls trip when so many bytes have been read, and goes on.
type tripping struct {
	r    io.Reader
	left int
	trip func()
}

func (r *tripping) Read(p []byte) (int, error) {
	if r.left > 0 {
		p = p[:min(len(p), r.left)]
	}
	n, err := r.r.Read(p)
	if r.left -= n; r.left == 0 {
		r.trip()
	}
	return n, err
}
