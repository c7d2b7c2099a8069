package mem

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"micronode/store"
)

func TestExactBound(t *testing.T) {
	for _, size := range []int{0, 100, group, 3*group + 1} {
		for _, declared := range []int64{-1, int64(size)} {
			b := pattern(size, 0)
			need := int64(size) + ObjectOverhead
			if _, _, err := New(Options{MaxBytes: need - 1}).Put(t.Context(), bytes.NewReader(b), store.PutOptions{Size: declared}); !errors.Is(err, store.ErrFull) {
				t.Errorf("%d bytes into %d: %v, want ErrFull", size, need-1, err)
			}
			s := New(Options{MaxBytes: need})
			mustPut(t, s, b, store.PutOptions{Size: declared})
			if u := s.Usage(); u.Bytes != need || u.Objects != 1 {
				t.Errorf("%d bytes into %d: %+v", size, need, u)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, n := range []int64{0, -5} {
		if u := New(Options{MaxBytes: n}).Usage(); u.MaxBytes != DefaultMaxBytes {
			t.Errorf("MaxBytes %d becomes %d", n, u.MaxBytes)
		}
	}
	if _, _, err := New(Options{}).Put(t.Context(), bytes.NewReader(nil), store.PutOptions{TTL: 1}); err == nil {
		t.Error("a time to live without a clock is accepted")
	}
}

// A stream is charged as it lands; a small declared body only when it is stored.
func TestWhatIsUnderWayIsCharged(t *testing.T) {
	for _, c := range []struct {
		size      int
		declared  int64
		wantSeen  int64 // charged when the last byte is asked for
		wantAfter int64
	}{
		{3 * group, -1, 3 * group, 3*group + ObjectOverhead},
		{3 * group, 3 * group, 0, 3*group + ObjectOverhead},
		{SmallBody, SmallBody, 0, SmallBody + ObjectOverhead},
		{SmallBody + group, SmallBody + group, SmallBody + group, SmallBody + group + ObjectOverhead},
	} {
		s := New(Options{})
		var seen int64
		src := io.MultiReader(bytes.NewReader(pattern(c.size, 0)), atEnd(func() { seen = s.Usage().Bytes }))
		mustPut(t, s, pattern(c.size, 0), store.PutOptions{Size: -1})
		if err := s.Delete(t.Context(), store.Sum(pattern(c.size, 0))); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Put(t.Context(), src, store.PutOptions{Size: c.declared}); err != nil {
			t.Fatal(err)
		}
		if after := s.Usage().Bytes; seen != c.wantSeen || after != c.wantAfter {
			t.Errorf("%d bytes declared %d: charged %d under way and %d after, want %d and %d", c.size, c.declared, seen, after, c.wantSeen, c.wantAfter)
		}
	}
}

type atEnd func()

func (f atEnd) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// A length that is only declared takes no memory: groups come as bytes do.
func TestDeclaringCostsNothing(t *testing.T) {
	s := New(Options{MaxBytes: 1 << 40})
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		src := atEnd(func() { runtime.ReadMemStats(&during) })
		for _, size := range []int64{1 << 20, 1 << 30} {
			if _, _, err := s.Put(t.Context(), src, store.PutOptions{Size: size}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
		}
	}
	if grown := during.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Fatalf("forty bodies that were declared and never sent cost %d bytes", grown)
	}
}

// What has expired makes room for a put before anybody sweeps.
func TestExpiredMakesRoom(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(Options{MaxBytes: 4*group + ObjectOverhead, Now: func() time.Time { return now }})
	old := pattern(4*group, 0)
	for _, size := range []int64{-1, 4 * group} {
		mustPut(t, s, old, store.PutOptions{Size: size, TTL: time.Minute})
		if _, _, err := s.Put(t.Context(), bytes.NewReader(pattern(4*group, 1)), store.PutOptions{Size: size}); !errors.Is(err, store.ErrFull) {
			t.Fatalf("full: %v", err)
		}
		now = now.Add(time.Minute)
		o := mustPut(t, s, pattern(4*group, 1), store.PutOptions{Size: size})
		if err := s.Delete(t.Context(), o.addr); err != nil {
			t.Fatal(err)
		}
	}
}

// In a full store, what is there can be put again, also when it is damaged or has expired while a reader holds it.
func TestFullStoreTakesWhatItHas(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := pattern(4*group, 0)
	s := New(Options{MaxBytes: int64(len(b)) + ObjectOverhead, Now: func() time.Time { return now }})
	opt := store.PutOptions{Size: int64(len(b)), TTL: time.Minute}
	put := func(want bool) {
		t.Helper()
		if _, created, err := s.Put(t.Context(), bytes.NewReader(b), opt); err != nil || created != want {
			t.Fatalf("created %v, %v", created, err)
		}
		if u := s.Usage(); u.Bytes != u.MaxBytes || u.Objects != 1 {
			t.Fatalf("%+v", u)
		}
	}
	put(true)
	put(false)
	if err := s.FlipBit(store.Sum(b), 100); err != nil {
		t.Fatal(err)
	}
	put(true)
	put(false)
	held, err := s.Open(t.Context(), store.Sum(b))
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	put(true)
	if n, err := held.WriteRange(t.Context(), io.Discard, 0, int64(len(b))); n != int64(len(b)) || err != nil {
		t.Fatalf("the reader of the expired copy: %d, %v", n, err)
	}
	if err := held.Close(); err != nil || s.Usage().Bytes != s.Usage().MaxBytes {
		t.Fatalf("%v, %+v", err, s.Usage())
	}
	if err := s.Delete(t.Context(), store.Sum(b)); err != nil || s.Usage().Bytes != 0 {
		t.Fatalf("%v, %+v", err, s.Usage())
	}
}

func TestSweepIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(Options{Now: func() time.Time { return now }})
	for i := range SweepObjects + 10 {
		mustPut(t, s, []byte{byte(i), byte(i >> 8)}, store.PutOptions{Size: 2, TTL: time.Duration(1 + i%7)})
	}
	for _, want := range []int{0, SweepObjects, 10, 0} {
		if got := s.Sweep(now); got != want {
			t.Fatalf("swept %d, want %d", got, want)
		}
		now = now.Add(time.Second)
	}
	if u := s.Usage(); u.Bytes != 0 || u.Objects != 0 || len(s.expiry) != 0 {
		t.Fatalf("%+v", u)
	}
}

// The overhead charged covers what an object without payload really costs.
func TestOverheadIsHonest(t *testing.T) {
	const count = 100_000
	for _, ttl := range []time.Duration{0, time.Hour} {
		now := time.Unix(1e9, 0)
		s := New(Options{Now: func() time.Time { return now }})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		src := bytes.NewReader(nil)
		for i := range count {
			src.Reset([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
			if _, _, err := s.Put(t.Context(), src, store.PutOptions{Size: 3, TTL: ttl}); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / count
		t.Logf("time to live %v: %d bytes an object", ttl, each)
		if each > ObjectOverhead+3 {
			t.Errorf("time to live %v: an object of 3 bytes costs %d, charged are %d", ttl, each, ObjectOverhead+3)
		}
		runtime.KeepAlive(s)
	}
}

func TestReadingAllocatesLittle(t *testing.T) {
	s := New(Options{})
	o := mustPut(t, s, pattern(4096, 0), store.PutOptions{Size: 4096})
	n := testing.AllocsPerRun(100, func() {
		b, err := s.Open(t.Context(), o.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = b.WriteRange(t.Context(), io.Discard, 0, 4096)
		_ = b.Close()
	})
	if n > 2 {
		t.Fatalf("Open, WriteRange and Close allocate %v times", n)
	}
}

func TestLongerThanDeclared(t *testing.T) {
	s := New(Options{})
	for _, size := range []int{0, 1, 100, group, group + 1, SmallBody, SmallBody + group} {
		b := pattern(size+1, 0)
		if _, created, err := s.Put(t.Context(), bytes.NewReader(b), store.PutOptions{Size: int64(size)}); !errors.Is(err, store.ErrTooLarge) || created {
			t.Errorf("%d bytes declared %d: created %v, %v", size+1, size, created, err)
		}
	}
	if u := s.Usage(); u.Bytes != 0 || u.Objects != 0 {
		t.Fatalf("%+v", u)
	}
}
