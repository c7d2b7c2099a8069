package actors

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"micronode/kernel"
	"micronode/store"
)

// Gate is how everybody reaches the objects: "reads stay open, writes fail
// closed" as a data structure. It holds a store that outlives the storage
// actor, and asks the ledger whether the plane is open; nobody ever waits for
// an actor.
type Gate struct {
	held  atomic.Pointer[lent]
	plane func() kernel.Plane
	now   func() time.Time
	frees func() bool // deletes go on: the plane is read-only for want of room alone; nil: they do not
	watch gateWatch
}

// lent wraps the interface for the atomic pointer.
type lent struct{ store store.Store }

// gateWatch is told what passes; every field may be nil.
type gateWatch struct {
	put     func(d time.Duration) // time that the store itself took
	get     func(d time.Duration)
	corrupt func(ctx context.Context, a store.Address, err error)
	mend    func(ctx context.Context, a store.Address) bool // heals a damaged object; true: read it again
}

// lend opens the gate to a store; the storage actor does so when it has looked
// at it.
func (g *Gate) lend(s store.Store) { g.held.Store(&lent{s}) }

// shut closes the gate for good: reads too.
func (g *Gate) shut() { g.held.Store(nil) }

// reads returns the store, or ErrNotReady before the first start and after the
// stop.
func (g *Gate) reads() (store.Store, error) {
	h := g.held.Load()
	if h == nil || g.plane() == kernel.Closed {
		return nil, store.ErrNotReady
	}
	return h.store, nil
}

// writes returns the store while the plane is open, else ErrReadOnly or
// ErrNotReady.
func (g *Gate) writes() (store.Store, error) {
	s, err := g.reads()
	if err == nil && g.plane() != kernel.Open {
		err = store.ErrReadOnly
	}
	return s, err
}

// Put stores an object (store.Store). ErrReadOnly while the storage actor is
// down.
func (g *Gate) Put(ctx context.Context, src io.Reader, o store.PutOptions) (store.Info, bool, error) {
	s, err := g.writes()
	if err != nil {
		return store.Info{}, false, err
	}
	if g.watch.put == nil {
		return s.Put(ctx, src, o)
	}
	begun, timed := g.now(), timedReader{src: src, now: g.now}
	info, created, err := s.Put(ctx, &timed, o)
	if err == nil {
		g.watch.put(g.now().Sub(begun) - timed.waited)
	}
	return info, created, err
}

// Open opens an object for verified reading (store.Store).
func (g *Gate) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	s, err := g.reads()
	if err != nil {
		return nil, err
	}
	b, err := s.Open(ctx, a)
	if errors.Is(err, store.ErrCorrupt) && g.mended(ctx, a, err) { // its record is damaged
		b, err = s.Open(ctx, a)
	}
	if err != nil {
		return nil, err
	}
	return &watchedBlob{Blob: b, gate: g}, nil
}

// mended tells of damage, and reports whether it is healed.
func (g *Gate) mended(ctx context.Context, a store.Address, err error) bool {
	if g.watch.corrupt != nil {
		g.watch.corrupt(ctx, a, err)
	}
	return g.watch.mend != nil && g.watch.mend(ctx, a)
}

// Delete removes an object (store.Store).
func (g *Gate) Delete(ctx context.Context, a store.Address) error {
	s, err := g.writes()
	if errors.Is(err, store.ErrReadOnly) && g.frees != nil && g.frees() {
		s, err = g.reads()
	}
	if err != nil {
		return err
	}
	return s.Delete(ctx, a)
}

// errNoList: the tier keeps no order. Every tier of ours does.
var errNoList = errors.New("actors: this tier can not list")

// List lists objects (store.Lister).
func (g *Gate) List(ctx context.Context, after store.Address, limit int) ([]store.Info, error) {
	s, err := g.reads()
	if err != nil {
		return nil, err
	}
	l, ok := s.(store.Lister)
	if !ok {
		return nil, errNoList
	}
	return l.List(ctx, after, limit)
}

// Usage tells how full the store is (store.Meter); zero while the gate is shut.
func (g *Gate) Usage() store.Usage {
	if h := g.held.Load(); h != nil {
		if m, ok := h.store.(store.Meter); ok {
			return m.Usage()
		}
	}
	return store.Usage{}
}

// watchedBlob reports damage and the time that verified reading takes.
type watchedBlob struct {
	store.Blob
	gate *Gate
}

func (b *watchedBlob) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	g := b.gate
	begun, timed := g.now(), timedWriter{dst: w, now: g.now}
	wrote, err := b.Blob.WriteRange(ctx, &timed, off, n)
	if errors.Is(err, store.ErrCorrupt) && g.mended(ctx, b.Info().Address, err) {
		var more int64
		more, err = b.again(ctx, &timed, off+wrote, n-wrote)
		wrote += more
	}
	if err == nil && g.watch.get != nil {
		g.watch.get(g.now().Sub(begun) - timed.waited)
	}
	return wrote, err
}

// timedReader and timedWriter tell the client's time from the store's.
type timedReader struct {
	src    io.Reader
	now    func() time.Time
	waited time.Duration
}

func (t *timedReader) Read(p []byte) (int, error) {
	begun := t.now()
	n, err := t.src.Read(p)
	t.waited += t.now().Sub(begun)
	return n, err
}

type timedWriter struct {
	dst    io.Writer
	now    func() time.Time
	waited time.Duration
}

func (t *timedWriter) Write(p []byte) (int, error) {
	begun := t.now()
	n, err := t.dst.Write(p)
	t.waited += t.now().Sub(begun)
	return n, err
}

// again goes on with the healed copy, where the damaged one had to stop.
func (b *watchedBlob) again(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	s, err := b.gate.reads()
	if err != nil {
		return 0, err
	}
	fresh, err := s.Open(ctx, b.Info().Address)
	if err != nil {
		return 0, err
	}
	if err := b.Blob.Close(); err != nil {
		return 0, errors.Join(err, fresh.Close())
	}
	b.Blob = fresh
	return fresh.WriteRange(ctx, w, off, n)
}
