package storetest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"micronode/store"
)

// RunBounded tests a Store that keeps to a byte bound. newStore returns an empty one, with Meter, of that bound.
func RunBounded(t *testing.T, newStore func(t *testing.T, maxBytes int64) store.Store) {
	const maxBytes = 8 * group
	t.Run("full is refused and leaves nothing", func(t *testing.T) { testFull(t, newStore(t, maxBytes)) })
	t.Run("the bound holds at every moment", func(t *testing.T) { testBoundHolds(t, newStore(t, maxBytes)) })
}

func testFull(t *testing.T, s store.Store) {
	limit := usage(s).MaxBytes
	wantRefused(t, s, stream(content(600, int(limit)+1)), store.PutOptions{Size: -1}, store.ErrFull)
	wantRefused(t, s, stream(content(600, int(limit)+1)), store.PutOptions{Size: limit + 1}, store.ErrFull)
	var kept [][]byte
	for i := range 1000 {
		b := content(uint64(610+i), group/2)
		_, created, err := s.Put(t.Context(), stream(b), store.PutOptions{Size: int64(len(b))})
		if errors.Is(err, store.ErrFull) && !created {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, b)
		if u := usage(s); u.Bytes > u.MaxBytes {
			t.Fatalf("over the bound: %+v", u)
		}
	}
	if len(kept) < 8 || len(kept) > 16 {
		t.Fatalf("%d objects of %d bytes fit into %d", len(kept), group/2, limit)
	}
	wantRefused(t, s, stream(content(601, group)), store.PutOptions{Size: -1}, store.ErrFull)
	for _, b := range kept {
		put(t, s, b, store.PutOptions{Size: int64(len(b))}, false) // there is always room for what is there
		wantContent(t, s, b)
	}
	if err := s.Delete(t.Context(), store.Sum(kept[0])); err != nil {
		t.Fatal(err)
	}
	put(t, s, kept[0], store.PutOptions{Size: int64(len(kept[0]))}, true)
}

func testBoundHolds(t *testing.T, s store.Store) {
	var done sync.WaitGroup
	for w := range 6 {
		done.Go(func() {
			for i := range 30 {
				b := content(uint64(700+100*w+i), (i%4+1)*group-w*1000)
				opt := store.PutOptions{Size: -1}
				if i%2 == 0 {
					opt.Size = int64(len(b))
				}
				if _, _, err := s.Put(t.Context(), stream(b), opt); err != nil && !errors.Is(err, store.ErrFull) {
					t.Errorf("Put: %v", err)
				}
				if u := usage(s); u.Bytes > u.MaxBytes {
					t.Errorf("over the bound: %+v", u)
				}
				if err := s.Delete(t.Context(), store.Sum(b)); err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Delete: %v", err)
				}
			}
		})
	}
	done.Wait()
	if u := usage(s); u.Bytes != 0 || u.Objects != 0 {
		t.Fatalf("all deleted: %+v", u)
	}
}

// RunTTL tests expiry. newStore returns an empty Store that takes the time from now, a clock the suite moves by hand.
func RunTTL(t *testing.T, newStore func(t *testing.T, now func() time.Time) store.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store, *Clock)
	}{
		{"expired is gone at once", testExpiry},
		{"the longer life wins", testLongerLife},
		{"soonest first, lives extended", testSweepOrder},
		{"expired and put again", testExpiredAgain},
		{"open across expiry", testOpenAcrossExpiry},
		{"negative time to live", testNegativeTTL},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := NewClock()
			c.test(t, newStore(t, clock.Now), clock)
		})
	}
}

// Clock is a clock moved by hand.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock starts at a fixed time.
func NewClock() *Clock { return &Clock{now: time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC)} }

// Now is what a Store is given.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sweep lets a Store with Sweep free what is due, and says how much that was.
func sweep(s store.Store, now time.Time) (n int) {
	sweeper, ok := s.(store.Sweeper)
	for ok {
		freed := sweeper.Sweep(now)
		n += freed
		ok = freed > 0
	}
	return n
}

func putTTL(t *testing.T, s store.Store, b []byte, ttl time.Duration, wantCreated bool) store.Info {
	t.Helper()
	return put(t, s, b, store.PutOptions{Size: int64(len(b)), TTL: ttl}, wantCreated)
}

func testExpiry(t *testing.T, s store.Store, clock *Clock) {
	start, before := clock.Now(), usage(s)
	for i, size := range []int{0, 10, group, 2*group + 1} {
		b := content(uint64(800+i), size)
		info := putTTL(t, s, b, time.Duration(i+1)*time.Minute, true)
		if !info.Expires.Equal(start.Add(time.Duration(i+1) * time.Minute)) {
			t.Fatalf("expires at %v, %v after %v", info.Expires, info.Expires.Sub(start), start)
		}
		wantContent(t, s, b)
	}
	for i, size := range []int{0, 10, group, 2*group + 1} {
		b := content(uint64(800+i), size)
		clock.Advance(time.Minute - 1)
		wantContent(t, s, b)
		if n := sweep(s, clock.Now()); n != 0 {
			t.Fatalf("%d swept too early", n)
		}
		clock.Advance(1)
		wantAbsent(t, s, b)
		if err := s.Delete(t.Context(), store.Sum(b)); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Delete of what has expired: %v, want ErrNotFound", err)
		}
		if l, ok := s.(store.Lister); ok {
			all, err := pages(t.Context(), l, 1)
			if err != nil || len(all) != 3-i || slices.ContainsFunc(all, func(i store.Info) bool { return i.Address == store.Sum(b) }) {
				t.Fatalf("List shows %d, want %d: %v", len(all), 3-i, err)
			}
		}
		if _, ok := s.(store.Sweeper); ok && sweep(s, clock.Now()) != 1 {
			t.Fatal("what has expired is not swept")
		}
		wantAbsent(t, s, b)
	}
	if after := usage(s); after != before {
		t.Fatalf("all expired and swept: usage %+v, was %+v", after, before)
	}
}

func testLongerLife(t *testing.T, s store.Store, clock *Clock) {
	start := clock.Now()
	b := content(810, 1000)
	for _, c := range []struct {
		ttl, want time.Duration // from start; want 0 is never
		created   bool
	}{
		{time.Minute, time.Minute, true},
		{time.Second, time.Minute, false},
		{time.Hour, time.Hour, false},
		{time.Minute, time.Hour, false},
		{0, 0, false},
		{time.Minute, 0, false},
	} {
		info := putTTL(t, s, b, c.ttl, c.created)
		blob := mustOpen(t, s, store.Sum(b))
		for _, got := range []time.Time{info.Expires, blob.Info().Expires} {
			if c.want == 0 && !got.IsZero() || c.want > 0 && !got.Equal(start.Add(c.want)) {
				t.Fatalf("after a put for %v it expires at %v, want %v from start", c.ttl, got, c.want)
			}
		}
		mustClose(t, blob)
	}
	clock.Advance(1000 * time.Hour)
	if n := sweep(s, clock.Now()); n != 0 {
		t.Fatalf("%d swept that never expire", n)
	}
	wantContent(t, s, b)
}

func testSweepOrder(t *testing.T, s store.Store, clock *Clock) {
	if _, ok := s.(store.Sweeper); !ok {
		return
	}
	const count = 20
	for i := range count {
		putTTL(t, s, content(815, i), time.Duration(1+i)*time.Minute, true)
	}
	for i := range count / 2 { // the first half now outlives the second
		putTTL(t, s, content(815, i), time.Duration(100+i)*time.Minute, false)
	}
	for i := count / 2; i < count; i += 2 { // and some are gone before their time
		if err := s.Delete(t.Context(), store.Sum(content(815, i))); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(count * time.Minute)
	if n := sweep(s, clock.Now()); n != count/4 {
		t.Fatalf("%d swept, want %d", n, count/4)
	}
	clock.Advance(80 * time.Minute)
	if n := sweep(s, clock.Now()); n != 1 {
		t.Fatalf("%d swept at the end of the first extended life, want 1", n)
	}
	clock.Advance(time.Hour)
	if n := sweep(s, clock.Now()); n != count/2-1 {
		t.Fatalf("%d swept in the end, want %d", n, count/2-1)
	}
}

func testExpiredAgain(t *testing.T, s store.Store, clock *Clock) {
	for i, size := range []int{0, 10, 3 * group} {
		b := content(uint64(820+i), size)
		putTTL(t, s, b, time.Minute, true)
		before := usage(s)
		clock.Advance(time.Minute)
		putTTL(t, s, b, time.Minute, true)
		wantContent(t, s, b)
		if after := usage(s); after != before {
			t.Fatalf("expired and put again: usage %+v, was %+v", after, before)
		}
		clock.Advance(time.Minute)
		put(t, s, b, store.PutOptions{Size: -1}, true)
		clock.Advance(time.Hour)
		if n := sweep(s, clock.Now()); n != 0 {
			t.Fatalf("%d swept that never expire", n)
		}
		wantContent(t, s, b)
	}
}

func testOpenAcrossExpiry(t *testing.T, s store.Store, clock *Clock) {
	b := content(830, 3*group)
	putTTL(t, s, b, time.Minute, true)
	blob := mustOpen(t, s, store.Sum(b))
	clock.Advance(time.Hour)
	sweep(s, clock.Now())
	wantAbsent(t, s, b)
	var out bytes.Buffer
	if _, err := blob.WriteRange(t.Context(), &out, 0, int64(len(b))); err != nil || !bytes.Equal(out.Bytes(), b) {
		t.Fatalf("blob opened before the expiry: %v", err)
	}
	mustClose(t, blob)
	sweep(s, clock.Now())
	if u := usage(s); u.Bytes != 0 || u.Objects != 0 {
		t.Fatalf("expired, swept and closed: %+v", u)
	}
}

func testNegativeTTL(t *testing.T, s store.Store, _ *Clock) {
	b := content(840, 10)
	before := usage(s)
	if _, created, err := s.Put(t.Context(), stream(b), store.PutOptions{Size: 10, TTL: -1}); err == nil || created {
		t.Fatalf("negative time to live: created %v, %v", created, err)
	}
	wantAbsent(t, s, b)
	if after := usage(s); after != before {
		t.Fatalf("usage %+v, was %+v", after, before)
	}
}
