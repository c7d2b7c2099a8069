package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"micronode/store"
)

func testRanges(t *testing.T, s store.Store) {
	for i, size := range []int{0, 1, 1024, group - 1, group, group + 1, 2 * group, 200000} {
		b := content(uint64(100+i), size)
		blob := mustOpen(t, s, mustPut(t, s, b))
		n := int64(size)
		t.Run(fmt.Sprintf("within %d", size), func(t *testing.T) { rangesWithin(t, blob, b) })
		t.Run(fmt.Sprintf("outside %d", size), func(t *testing.T) {
			for _, r := range [][2]int64{
				{-1, 1},
				{-1, 0},
				{0, -1},
				{0, n + 1},
				{n, 1},
				{n + 1, 0},
				{n + 1, -1},
				{1, n},
				{1, math.MaxInt64},
				{math.MaxInt64, math.MaxInt64},
				{math.MinInt64, 1},
				{0, math.MinInt64},
			} {
				var out bytes.Buffer
				if written, err := blob.WriteRange(t.Context(), &out, r[0], r[1]); err == nil || written != 0 || out.Len() != 0 {
					t.Errorf("[%d, +%d) of %d bytes: %d written, %v", r[0], r[1], size, written, err)
				}
			}
		})
		mustClose(t, blob)
	}
}

func rangesWithin(t *testing.T, blob store.Blob, b []byte) {
	size := len(b)
	for _, from := range []int{0, 1, 1023, 1024, size / 2, group - 1, group, group + 1, 2*group - 1, 2 * group, size - 1, size} {
		for _, to := range []int{0, 1, 1025, size / 3, group - 1, group, group + 1, 2 * group, size - 1, size} {
			if from < 0 || from > to || to > size {
				continue
			}
			var out bytes.Buffer
			written, err := blob.WriteRange(t.Context(), &out, int64(from), int64(to-from))
			if err != nil || written != int64(to-from) || !bytes.Equal(out.Bytes(), b[from:to]) {
				t.Errorf("[%d, %d) of %d bytes: %d written, %d arrived, %v", from, to, size, written, out.Len(), err)
			}
		}
	}
}

var errWriter = errors.New("the writer failed")

// limited takes left bytes, then fails; with a nil error it falls silently short.
type limited struct {
	bytes.Buffer
	left int
	err  error
}

func (w *limited) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	w.Buffer.Write(p[:n])
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

func testWriterFails(t *testing.T, s store.Store) {
	b := content(110, 3*group)
	blob := mustOpen(t, s, mustPut(t, s, b))
	for _, after := range []int{0, 1, group, group + 1, 3*group - 1} {
		for err, want := range map[error]error{errWriter: errWriter, nil: io.ErrShortWrite} {
			w := &limited{left: after, err: err}
			written, got := blob.WriteRange(t.Context(), w, 0, int64(len(b)))
			if !errors.Is(got, want) || written != int64(after) || !bytes.Equal(w.Bytes(), b[:after]) {
				t.Errorf("writer that fails after %d bytes: %d written, %v; want %v", after, written, got, want)
			}
		}
	}
	mustClose(t, blob)
	wantContent(t, s, b)
}

// cancelling cancels at its first byte.
type cancelling struct {
	bytes.Buffer
	cancel func()
}

func (w *cancelling) Write(p []byte) (int, error) {
	w.cancel()
	return w.Buffer.Write(p)
}

func testCancelledRead(t *testing.T, s store.Store) {
	b := content(120, 8*group)
	blob := mustOpen(t, s, mustPut(t, s, b))
	ctx, cancel := context.WithCancel(t.Context())
	w := &cancelling{cancel: cancel}
	written, err := blob.WriteRange(ctx, w, 0, int64(len(b)))
	if !errors.Is(err, context.Canceled) || written != int64(w.Len()) || !bytes.HasPrefix(b, w.Bytes()) || w.Len() == len(b) {
		t.Fatalf("cancelled in its first group: %d written, %d arrived, %v", written, w.Len(), err)
	}
	if written, err = blob.WriteRange(ctx, io.Discard, 0, 1); !errors.Is(err, context.Canceled) || written != 0 {
		t.Fatalf("cancelled before: %d written, %v", written, err)
	}
	mustClose(t, blob)
	if _, err := s.Open(ctx, store.Sum(b)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Open, cancelled before: %v", err)
	}
	if err := s.Delete(ctx, store.Sum(b)); !errors.Is(err, context.Canceled) {
		t.Fatalf("Delete, cancelled before: %v", err)
	}
	wantContent(t, s, b)
}

func testDelete(t *testing.T, s store.Store) {
	for i, size := range []int{0, 10, group, 2*group + 1} {
		b := content(uint64(130+i), size)
		absent := func() {
			t.Helper()
			wantAbsent(t, s, b)
			if err := s.Delete(t.Context(), store.Sum(b)); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Delete of what is not there: %v, want ErrNotFound", err)
			}
		}
		absent()
		for range 3 {
			mustPut(t, s, b)
			if err := s.Delete(t.Context(), store.Sum(b)); err != nil {
				t.Fatalf("Delete of %d bytes: %v", size, err)
			}
			absent()
		}
	}
}

func testOpenAcrossDelete(t *testing.T, s store.Store) {
	b := content(140, 3*group+9)
	first := mustOpen(t, s, mustPut(t, s, b))
	if err := s.Delete(t.Context(), store.Sum(b)); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, s, b)
	mustPut(t, s, b)
	second := mustOpen(t, s, store.Sum(b))
	if err := s.Delete(t.Context(), store.Sum(b)); err != nil {
		t.Fatal(err)
	}
	for _, blob := range []store.Blob{first, second} {
		if blob.Info().Size != int64(len(b)) {
			t.Fatalf("Info after Delete: %+v", blob.Info())
		}
		rangesWithin(t, blob, b)
		mustClose(t, blob)
	}
	wantAbsent(t, s, b)
}
