package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"micronode/store"
)

var errClosed = errors.New("blob is closed")

// get copies the value of a key. Errors: store.ErrNotFound, ErrCorrupt, ErrNotReady.
func (h *handle) get(key []byte) (value []byte, err error) {
	err = h.look(key, func(v []byte) { value = append(make([]byte, 0, len(v)), v...) })
	return value, err
}

// look shows the value of a key to f, which must not keep it.
func (h *handle) look(key []byte, f func([]byte)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: the engine gave up: %v", store.ErrCorrupt, v)
		}
	}()
	v, closer, err := h.db.Get(key)
	if err != nil {
		return readError(err)
	}
	f(v)
	return readError(closer.Close()) // a value kept apart is found damaged here
}

// readError sorts what a read can meet into what a reader can do about it.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrNotFound):
		return store.ErrNotFound
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("%w: %w", store.ErrNotReady, err)
	default: // checksum, a file cut short or gone, a bad sector
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
}

// reader returns the current handle, entered. The caller leaves it.
func (s *Store) reader() (*handle, error) {
	for {
		h := s.cur.Load()
		if h.enter() {
			return h, nil
		}
		s.sums.Lock()
		closed := s.closed
		s.sums.Unlock()
		if closed || s.cur.Load() == h {
			return nil, store.ErrNotReady
		}
	}
}

// meta reads the record of an object, expired or not. Errors: store.ErrNotFound, ErrCorrupt, ErrNotReady.
func (h *handle) meta(a store.Address) (*meta, error) {
	b, err := h.get(objectKey(a))
	if err != nil {
		return nil, err
	}
	return decodeMeta(a, b)
}

// Open pins the object at a.
func (s *Store) Open(ctx context.Context, a store.Address) (store.Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %v: %w", a, err)
	}
	m, err := s.pinned(a)
	if err != nil {
		return nil, fmt.Errorf("open %v: %w", a, err)
	}
	return &blob{store: s, addr: a, meta: m}, nil
}

// pinned looks an object up and pins it.
func (s *Store) pinned(a store.Address) (*meta, error) {
	h, err := s.reader()
	if err != nil {
		return nil, err
	}
	defer h.leave()
	p := s.pinsOf(a)
	p.RLock()
	defer p.RUnlock()
	m, err := h.meta(a)
	if err != nil {
		return nil, err
	}
	if m.expires != 0 && m.expiredAt(s.opt.Now()) || !p.pin(m.id) {
		return nil, store.ErrNotFound
	}
	return m, nil
}

// blob is a pinned object.
type blob struct {
	store   *Store
	addr    store.Address
	meta    *meta
	tree    store.Tree
	trusted bool // tree is made
	closed  atomic.Bool
}

func (b *blob) Info() store.Info { return b.meta.info(b.addr) }

// groupBuffers hold a group on its way out: a slow reader keeps no page of the engine.
var groupBuffers = sync.Pool{New: func() any { return new([store.GroupSize]byte) }}

// WriteRange reads and verifies each touched group on every call, and the tree on the first; a group is one Write.
func (b *blob) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	size := b.meta.size
	switch {
	case b.closed.Load():
		return 0, fmt.Errorf("read %v: %w", b.addr, errClosed)
	case off < 0 || n < 0 || off > size || n > size-off:
		return 0, fmt.Errorf("read %v: %d bytes from %d are outside the object of %d bytes", b.addr, n, off, size)
	}
	buffer := groupBuffers.Get().(*[store.GroupSize]byte)
	defer func() {
		clear(buffer[:])
		groupBuffers.Put(buffer)
	}()
	var written int64
	for written < n {
		m, err := b.writeGroup(ctx, w, off+written, n-written, buffer)
		written += m
		if err != nil {
			return written, fmt.Errorf("read %v: %w", b.addr, err)
		}
	}
	return written, nil
}

// writeGroup writes what [off, off+n) has in the group of off.
func (b *blob) writeGroup(ctx context.Context, w io.Writer, off, n int64, buffer *[store.GroupSize]byte) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if !b.trusted {
		tree, err := store.NewTree(b.addr, b.meta.size, b.meta.cvs)
		if err != nil {
			return 0, err
		}
		b.tree, b.trusted = tree, true
	}
	i := off / store.GroupSize
	group, err := b.store.group64(b.meta, i, buffer)
	if err != nil {
		return 0, err
	}
	if err := b.tree.Verify(i, group); err != nil {
		return 0, err
	}
	part := group[off%store.GroupSize:]
	part = part[:min(int64(len(part)), n)]
	m, err := w.Write(part)
	if err == nil && m != len(part) {
		err = io.ErrShortWrite
	}
	return int64(m), err
}

// group64 reads one group, not yet verified.
func (s *Store) group64(m *meta, i int64, buffer *[store.GroupSize]byte) (group []byte, err error) {
	h, err := s.reader()
	if err != nil {
		return nil, err
	}
	defer h.leave()
	err = h.look(chunkKey(m.id, uint32(i)), func(v []byte) {
		if len(v) <= len(buffer) { // a longer one cannot be a group; an empty one is refused by the tree
			group = buffer[:copy(buffer[:], v)]
		}
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("group %d is missing: %w", i, store.ErrCorrupt)
	}
	return group, err
}

// Close unpins; calls after the first do nothing.
func (b *blob) Close() error {
	if !b.closed.Swap(true) {
		b.store.pinsOf(b.addr).unpin(b.meta.id)
	}
	return nil
}

// verify reads an object whole and holds it against its address. The caller has pinned it, or does not care.
func (s *Store) verify(ctx context.Context, a store.Address, m *meta) error {
	b := &blob{store: s, addr: a, meta: m}
	_, err := b.WriteRange(ctx, io.Discard, 0, m.size)
	if err == nil && m.size == 0 {
		_, err = store.NewTree(a, 0, m.cvs)
		if err == nil && a != store.Sum(nil) {
			err = store.ErrCorrupt
		}
	}
	return err
}

// List walks the records in order. Objects whose record is damaged are left out.
func (s *Store) List(ctx context.Context, after store.Address, limit int) ([]store.Info, error) {
	if limit < 1 || limit > store.MaxPage {
		limit = store.MaxPage
	}
	now := s.opt.Now()
	var page []store.Info
	from := objectKey(after)
	if after != (store.Address{}) {
		from = append(from, 0)
	}
	err := s.scan(ctx, from, []byte{prefixObject + 1}, func(k, v []byte) bool {
		a := store.Address(k[1:])
		if a == after {
			return true
		}
		if m, err := decodeMeta(a, v); err == nil && !m.expiredAt(now) {
			page = append(page, m.info(a))
		}
		return len(page) < limit
	})
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return page, nil
}

// scan shows the records of [from, to) in order until f has enough.
func (s *Store) scan(ctx context.Context, from, to []byte, f func(k, v []byte) bool) error {
	h, err := s.reader()
	if err != nil {
		return err
	}
	defer h.leave()
	return h.scan(ctx, from, to, f)
}

func (h *handle) scan(ctx context.Context, from, to []byte, f func(k, v []byte) bool) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: the engine gave up: %v", store.ErrCorrupt, v)
		}
	}()
	it, err := h.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return readError(err)
	}
	for more := it.First(); more; more = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(readError(err), it.Close())
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(err, it.Close())
		}
		if !f(it.Key(), v) {
			break
		}
	}
	return readError(errors.Join(it.Error(), it.Close()))
}
