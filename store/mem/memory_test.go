package mem

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"micronode/store"
)

const group = store.GroupSize

// pattern is n bytes of which none is zero.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7)%251 + 1 + seed%4
	}
	return b
}

func mustPut(t *testing.T, s *Store, b []byte, opt store.PutOptions) *object {
	t.Helper()
	info, _, err := s.Put(t.Context(), bytes.NewReader(b), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s.index.get(&info.Address)
}

// parts are the buffers of an object, to be looked at after it is gone.
func parts(o *object) (all [][]byte) {
	o.each(func(p []byte) { all = append(all, p[:cap(p)]) })
	return all
}

func zero(all [][]byte) bool {
	for _, p := range all {
		if len(bytes.Trim(p, "\x00")) > 0 {
			return false
		}
	}
	return true
}

func TestBytesAreZeroedByTheLastPin(t *testing.T) {
	ways := map[string]func(*Store, *object) error{
		"delete": func(s *Store, o *object) error { return s.Delete(context.Background(), o.addr) },
		"expiry": func(s *Store, o *object) error { s.Sweep(o.expires.Load().Add(1)); return nil },
		"damage": func(s *Store, o *object) error { return s.FlipBit(o.addr, 0) },
	}
	for name, remove := range ways {
		for _, size := range []int{1, 1000, group - 1, group, group + 1, 3*group + 100} {
			start := time.Unix(1e9, 0)
			s := New(Options{Now: func() time.Time { return start }})
			o := mustPut(t, s, pattern(size, 0), store.PutOptions{Size: -1, TTL: time.Hour})
			blob, err := s.Open(t.Context(), o.addr)
			if err != nil {
				t.Fatal(err)
			}
			all := parts(o)
			if err := remove(s, o); err != nil {
				t.Fatal(err)
			}
			if zero(all) {
				t.Fatalf("%s of %d bytes: zeroed while a blob is open", name, size)
			}
			if err := blob.Close(); err != nil {
				t.Fatal(err)
			}
			if !zero(all) {
				t.Fatalf("%s of %d bytes: not zeroed by the last close", name, size)
			}
		}
	}
}

func TestHealedAndUnneededBytesAreZeroed(t *testing.T) {
	s := New(Options{})
	b := pattern(2*group+5, 0)
	o := mustPut(t, s, b, store.PutOptions{Size: -1})
	if err := s.FlipBit(o.addr, 9); err != nil {
		t.Fatal(err)
	}
	damaged := parts(s.index.get(&o.addr))
	mustPut(t, s, b, store.PutOptions{Size: -1})
	if !zero(damaged) {
		t.Fatal("the damaged copy is not zeroed when it is healed")
	}
	var lent spy
	lent.r = bytes.NewReader(b)
	if _, _, err := s.Put(t.Context(), &lent, store.PutOptions{Size: -1}); err != nil {
		t.Fatal(err)
	}
	lent.wantZero(t, "a second put of the same bytes")
	lent = spy{r: io.MultiReader(bytes.NewReader(b), failure{})}
	if _, _, err := s.Put(t.Context(), &lent, store.PutOptions{Size: -1}); !errors.Is(err, errFailure) {
		t.Fatal(err)
	}
	lent.wantZero(t, "a failed put")
}

// spy remembers what it was lent to read into.
type spy struct {
	r    io.Reader
	lent [][]byte
}

func (s *spy) Read(p []byte) (int, error) {
	s.lent = append(s.lent, p)
	return s.r.Read(p)
}

func (s *spy) wantZero(t *testing.T, after string) {
	t.Helper()
	if len(s.lent) == 0 || !zero(s.lent) {
		t.Fatalf("%s leaves bytes behind", after)
	}
}

var errFailure = errors.New("failed")

type failure struct{}

func (failure) Read([]byte) (int, error) { return 0, errFailure }

// Whatever goes through the free list comes out zero, and the list does not grow past its bound.
func TestFreeGroupsAreZeroAndBounded(t *testing.T) {
	s := New(Options{MaxBytes: 64 << 20})
	b := pattern((FreeGroups+20)*group, 0)
	for range 2 {
		o := mustPut(t, s, b, store.PutOptions{Size: -1})
		if err := s.Delete(t.Context(), o.addr); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.buffers.groups); n != FreeGroups {
		t.Fatalf("%d free buffers, want %d", n, FreeGroups)
	}
	for range FreeGroups {
		if p := s.buffers.get(group); len(p) != group || !zero([][]byte{p}) {
			t.Fatal("a free buffer is not zero")
		}
	}
	if s.buffers.put(make([]byte, 100)); len(s.buffers.groups) != 0 {
		t.Fatal("a small buffer went into the free list")
	}
}

// A damaged tree is found before any byte leaves, and a put heals it.
func TestTamperedTreeIsFound(t *testing.T) {
	s := New(Options{})
	b := pattern(3*group, 0)
	o := mustPut(t, s, b, store.PutOptions{Size: -1})
	o.large.cvs[1][0] ^= 1
	blob, err := s.Open(t.Context(), o.addr)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if n, err := blob.WriteRange(t.Context(), &out, 0, 10); !errors.Is(err, store.ErrCorrupt) || n != 0 || out.Len() != 0 {
		t.Fatalf("%d written under a damaged tree, %v", n, err)
	}
	if err := blob.Close(); err != nil {
		t.Fatal(err)
	}
	if _, created, err := s.Put(t.Context(), bytes.NewReader(b), store.PutOptions{Size: -1}); err != nil || !created {
		t.Fatalf("healing put: created %v, %v", created, err)
	}
}

func TestClosedBlob(t *testing.T) {
	s := New(Options{})
	o := mustPut(t, s, pattern(100, 0), store.PutOptions{Size: 100})
	first, _ := s.Open(t.Context(), o.addr)
	second, _ := s.Open(t.Context(), o.addr)
	for range 3 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := first.WriteRange(t.Context(), io.Discard, 0, 1); !errors.Is(err, errClosed) {
		t.Fatalf("read after Close: %v", err)
	}
	if err := s.Delete(t.Context(), o.addr); err != nil {
		t.Fatal(err)
	}
	if n, err := second.WriteRange(t.Context(), io.Discard, 0, 100); n != 100 || err != nil {
		t.Fatalf("closing one blob more than once hurts another: %d, %v", n, err)
	}
	if err := second.Close(); err != nil || s.Usage().Bytes != 0 {
		t.Fatalf("%v, %+v", err, s.Usage())
	}
}

type panicking struct{ after io.Reader }

func (p panicking) Read(b []byte) (int, error) {
	n, err := p.after.Read(b)
	if err == io.EOF {
		panic("source")
	}
	return n, err
}

func TestPanicOfTheSourceLeaksNothing(t *testing.T) {
	s := New(Options{MaxBytes: 8 * group})
	for _, size := range []int64{-1, 3*group + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Fatal("the panic did not pass")
				}
			}()
			_, _, _ = s.Put(t.Context(), panicking{bytes.NewReader(pattern(3*group, 0))}, store.PutOptions{Size: size})
		}()
	}
	if u := s.Usage(); u.Bytes != 0 || u.Objects != 0 {
		t.Fatalf("after a panic: %+v", u)
	}
	mustPut(t, s, pattern(7*group, 0), store.PutOptions{Size: -1})
}

// endless gives bytes for ever and calls trip on its third read.
type endless struct {
	reads int
	trip  func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.reads++; e.reads == 3 {
		e.trip()
	}
	return len(p), nil
}

func TestCancelEndsAnEndlessStream(t *testing.T) {
	for _, size := range []int64{-1, 1 << 29} {
		s := New(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		src := &endless{trip: cancel}
		if _, _, err := s.Put(ctx, src, store.PutOptions{Size: size}); !errors.Is(err, context.Canceled) || src.reads != 3 {
			t.Fatalf("after %d groups: %v", src.reads, err)
		}
		if u := s.Usage(); u.Bytes != 0 {
			t.Fatalf("%+v", u)
		}
	}
}

// careless breaks the rules of io.Reader.
type careless int

func (c careless) Read(p []byte) (int, error) {
	if c == 0 {
		return 0, nil
	}
	return min(int(c), 2*len(p)), nil
}

func TestCarelessSources(t *testing.T) {
	s := New(Options{})
	for c, want := range map[careless]error{0: io.ErrNoProgress, -1: store.ErrBadRead, 1 << 30: store.ErrBadRead} {
		if _, _, err := s.Put(t.Context(), c, store.PutOptions{Size: -1}); !errors.Is(err, want) {
			t.Errorf("source %d: %v, want %v", c, err, want)
		}
	}
	if u := s.Usage(); u.Bytes != 0 {
		t.Fatalf("%+v", u)
	}
}
