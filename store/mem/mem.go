package mem

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"micronode/store"
)

const (
	// DefaultMaxBytes is the bound of a Store whose Options name none (contract §2).
	DefaultMaxBytes = 1 << 30
	// ObjectOverhead is what every object costs against MaxBytes besides its payload: its record, its place in the index and
	// in the order of expiry. It keeps a flood of tiny objects from exhausting memory.
	ObjectOverhead = 256
)

// Options sets up a Store.
type Options struct {
	MaxBytes int64            // bound on payload plus overhead; <= 0 means DefaultMaxBytes
	Now      func() time.Time // the clock for expiry, called without locks; without one, bodies with a TTL are refused
}

// Store is the RAM tier. It is a store.Store, Lister, Meter, Sweeper and Flipper. Make it with New.
type Store struct {
	now     func() time.Time
	ledger  ledger
	buffers buffers
	objects atomic.Int64
	index   index // read by anyone, changed under mu

	mu     sync.Mutex
	expiry expiryHeap
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Lister  = (*Store)(nil)
	_ store.Meter   = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
	_ store.Flipper = (*Store)(nil)
)

// New returns an empty Store. It needs no closing.
func New(opt Options) *Store {
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = DefaultMaxBytes
	}
	return &Store{now: opt.Now, ledger: ledger{max: opt.MaxBytes}, buffers: newBuffers()}
}

// Usage reports objects linked in the index, expired ones included until swept, and the bytes charged.
func (s *Store) Usage() store.Usage {
	return store.Usage{Objects: s.objects.Load(), Bytes: s.ledger.used.Load(), MaxBytes: s.ledger.max}
}

// Open pins the object at a. It takes no lock.
func (s *Store) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %v: %w", a, err)
	}
	for {
		o := s.index.get(&a)
		if o == nil || s.expired(o) {
			return nil, fmt.Errorf("open %v: %w", a, store.ErrNotFound)
		}
		if o.pin() {
			return &blob{store: s, obj: o}, nil
		}
		// Its last pin went between the two steps: it is out of the index by now, so looking again sees what followed it.
	}
}

// Delete unlinks the object at a; its bytes are zeroed here, or by the last reader to close.
func (s *Store) Delete(ctx context.Context, a store.Address) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %v: %w", a, err)
	}
	o := s.detach(&a, s.clock())
	if o == nil {
		return fmt.Errorf("delete %v: %w", a, store.ErrNotFound)
	}
	s.unpin(o)
	return nil
}

// List walks the index without a lock.
func (s *Store) List(ctx context.Context, after store.Address, limit int) ([]store.Info, error) {
	if limit < 1 || limit > store.MaxPage {
		limit = store.MaxPage
	}
	w := walk{after: after, now: s.clock(), limit: limit}
	if err := s.index.walk(ctx, &w); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return w.page, nil
}

// detach unlinks what is alive at a and returns it with the index's pin, or nil.
func (s *Store) detach(a *store.Address, now time.Time) *object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.index.get(a)
	if o == nil || o.expiredAt(now) {
		return nil
	}
	s.unlink(o)
	return o
}

// unlink takes o out of index and expiry. The caller holds mu, and afterwards the pin that the index held.
func (s *Store) unlink(o *object) {
	s.index.remove(&o.addr)
	s.expiry.remove(o)
	s.objects.Add(-1)
}

// clock is now, or the zero time for a Store without a clock, at which nothing has expired.
func (s *Store) clock() time.Time {
	if s.now == nil {
		return time.Time{}
	}
	return s.now()
}

// expired asks the clock only for an object that can expire.
func (s *Store) expired(o *object) bool {
	return o.expires.Load() != nil && o.expiredAt(s.clock())
}
