package pebble

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"micronode/store"
)

// SmallBody is the longest body that, when its length is declared, is kept in RAM until its one commit. Longer ones and
// streams are written as they land and only made an object by their last commit.
const SmallBody = 1 << 20

var errDiskFull = fmt.Errorf("%w: the disk is full; free some space, writing goes on by itself", store.ErrReadOnly)

// errAgain: what the upload had found there has changed meanwhile.
var errAgain = errors.New("store: look again")

// upload is a body on its way in.
type upload struct {
	s       *Store
	h       *handle // that took the groups so far; entered
	body    store.Body
	opt     store.PutOptions
	id      blobID
	batch   *pebble.Batch // groups that are not written yet
	pending int           // bytes in batch
	landed  bool          // groups have been written: garbageKey names them
	hash    store.TreeHasher
	charged int64
	buffer  *[store.GroupSize]byte
}

// Put implements store.Store. It returns when the object is durable.
func (s *Store) Put(ctx context.Context, src io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	info, created, err := s.put(ctx, src, opt)
	if err != nil {
		return store.Info{}, false, fmt.Errorf("put: %w", err)
	}
	return info, created, nil
}

func (s *Store) put(ctx context.Context, src io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	if err := s.admit(opt); err != nil {
		return store.Info{}, false, err
	}
	h, err := s.reader()
	if err != nil {
		return store.Info{}, false, err
	}
	u := &upload{s: s, h: h, body: store.NewBody(src, opt), opt: opt, id: newBlobID(s.opt.Now()), buffer: groupBuffers.Get().(*[store.GroupSize]byte)}
	defer u.drop() // also when src panics
	u.batch = h.db.NewBatch()
	if err := u.read(ctx); err != nil {
		return store.Info{}, false, err
	}
	if err := ctx.Err(); err != nil {
		return store.Info{}, false, err
	}
	a, cvs := u.hash.Sum()
	if want := opt.Expect; want != nil && *want != a {
		return store.Info{}, false, fmt.Errorf("got %v, expected %v: %w", a, *want, store.ErrMismatch)
	}
	m := &meta{size: u.body.Total(), id: u.id, cvs: cvs}
	if opt.TTL > 0 {
		m.expires = s.opt.Now().Add(opt.TTL).UnixNano()
	}
	return u.settle(ctx, a, m)
}

// admit refuses before the first byte what cannot be stored whatever it is.
func (s *Store) admit(opt store.PutOptions) error {
	switch failed := s.Failed(); {
	case failed != nil:
		return broken(failed)
	case s.opt.ReadOnly:
		return store.ErrReadOnly
	case s.full.Load():
		return errDiskFull
	case opt.TTL < 0:
		return fmt.Errorf("time to live %v is negative", opt.TTL)
	case opt.Size < 0:
		return nil
	case opt.MaxSize > 0 && opt.Size > opt.MaxSize:
		return fmt.Errorf("%d bytes declared, at most %d allowed: %w", opt.Size, opt.MaxSize, store.ErrTooLarge)
	case opt.Size > s.opt.MaxBytes-ObjectOverhead:
		return fmt.Errorf("%d bytes declared, more than the whole store: %w", opt.Size, store.ErrFull)
	case opt.Size > SmallBody && s.budget.Used()+opt.Size+ObjectOverhead > s.opt.MaxBytes && !s.reclaim():
		return fmt.Errorf("%d bytes declared: %w", opt.Size, store.ErrFull)
	}
	return nil
}

func (s *Store) reclaim() bool { return s.Sweep(s.opt.Now()) > 0 }

// charge takes n bytes, making room by sweeping what has expired. ErrFull when there is none.
func (s *Store) charge(n int64) error {
	for !s.budget.Take(n) {
		if !s.reclaim() {
			return store.ErrFull
		}
	}
	return nil
}

// streams says whether groups are written and charged as they land.
func (u *upload) streams() bool { return !u.body.Declared() || u.opt.Size > SmallBody }

// read takes the body to its end.
func (u *upload) read(ctx context.Context) error {
	for i := uint32(0); u.body.Room() > 0; i++ {
		n, err := u.body.Next(ctx, u.buffer[:u.body.Room()])
		switch {
		case err != nil:
			return err
		case n == 0:
			continue
		}
		if u.streams() {
			if err := u.s.charge(int64(n)); err != nil {
				return fmt.Errorf("after %d bytes: %w", u.body.Total(), err)
			}
			u.charged += int64(n)
		}
		u.hash.Add(u.buffer[:n])
		_ = u.batch.Set(chunkKey(u.id, i), u.buffer[:n], nil)
		u.pending += n
		if u.streams() && u.pending >= SmallBody {
			if err := u.land(); err != nil {
				return err
			}
		}
	}
	return u.body.End(ctx)
}

// land writes the groups of a stream, not yet synced: the commit that makes them an object will. Until then garbageKey
// names them.
func (u *upload) land() error {
	if !u.landed {
		_ = u.batch.Set(garbageKey(u.id), nil, nil)
		u.landed = true
	}
	if err := u.h.apply(u.batch, pebble.NoSync); err != nil {
		return broken(err)
	}
	_ = u.batch.Close()
	u.batch, u.pending = u.h.db.NewBatch(), 0
	if u.s.Look().Full {
		return errDiskFull
	}
	return nil
}

// settle makes the payload an object, or finds that it is there.
func (u *upload) settle(ctx context.Context, a store.Address, m *meta) (store.Info, bool, error) {
	for {
		old, good, err := u.s.examine(ctx, a)
		if err != nil {
			return store.Info{}, false, err
		}
		info, created, err := u.commit(a, m, old, good)
		if errors.Is(err, store.ErrFull) && u.s.reclaim() || errors.Is(err, errAgain) {
			continue
		}
		return info, created, err
	}
}

// found is what was at an address before an upload.
type found struct {
	there bool
	meta  *meta // nil when its record is damaged
}

func (f found) id() blobID {
	if f.meta == nil {
		return blobID{}
	}
	return f.meta.id
}

// examine looks at what is kept at a, and whether it is sound.
func (s *Store) examine(ctx context.Context, a store.Address) (f found, good bool, err error) {
	m, err := s.pinned(a)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return found{}, false, nil
	case errors.Is(err, store.ErrCorrupt):
		return found{there: true}, false, nil
	case err != nil:
		return found{}, false, err
	}
	defer s.pinsOf(a).unpin(m.id)
	switch err := s.verify(ctx, a, m); {
	case errors.Is(err, store.ErrCorrupt):
		return found{true, m}, false, nil
	case err != nil:
		return found{}, false, err
	}
	return found{true, m}, true, nil
}

// commit links the object in place of what examine found.
func (u *upload) commit(a store.Address, m *meta, old found, good bool) (info store.Info, created bool, err error) {
	o := &op{bytes: u.pending}
	o.write = func(t *tx) error {
		info, created, err = store.Info{}, false, nil
		if err := t.touch(a); err != nil {
			return err
		}
		if t.h != u.h {
			return broken(errReopened)
		}
		now, err := t.h.meta(a)
		switch {
		case errors.Is(err, store.ErrNotFound):
			now = nil
		case errors.Is(err, store.ErrCorrupt):
			if !old.there || old.meta != nil {
				return errAgain
			}
			u.overwrite(t, a, m)
			info, created = m.info(a), true
			return nil
		case err != nil:
			return err
		case now.expiredAt(t.now) && u.opt.Heal:
			return fmt.Errorf("nothing to heal: %w", store.ErrNotFound)
		case now.expiredAt(t.now): // as if it were not there, but for its room
			return u.replace(t, a, m, now, &info, &created)
		case !old.there || old.id() != now.id:
			return errAgain
		}
		switch {
		case now != nil && good:
			if !u.opt.Heal {
				now = t.extend(a, now, m.expires)
			}
			info = now.info(a)
			return nil
		case now != nil:
			if m.expires = later(now.expires, m.expires); u.opt.Heal {
				m.expires = now.expires
			}
			return u.replace(t, a, m, now, &info, &created)
		case u.opt.Heal:
			return fmt.Errorf("nothing to heal: %w", store.ErrNotFound)
		default:
			return u.create(t, a, m, &info, &created)
		}
	}
	err = u.s.do(o)
	if err != nil {
		return store.Info{}, false, err
	}
	return info, created, nil
}

// create links a new object; its room is taken first.
func (u *upload) create(t *tx, a store.Address, m *meta, info *store.Info, created *bool) error {
	need := m.charge() - u.charged
	if !u.s.budget.Take(need) {
		return fmt.Errorf("no room for %d bytes: %w", m.size, store.ErrFull)
	}
	u.link(t, a, m)
	t.after = append(t.after, u.charge(need))
	*info, *created = m.info(a), true
	return nil
}

// replace links the object in place of a damaged or expired one. A full store has room for what it holds already: the old
// copy's charge passes on then, and is not counted while a reader still holds that copy.
func (u *upload) replace(t *tx, a store.Address, m, old *meta, info *store.Info, created *bool) error {
	if old.expires != 0 {
		_ = t.b.Delete(expiryKey(old.expires, a), nil)
	}
	t.sums.objects--
	t.sums.bytes -= old.charge()
	if need := m.charge() - u.charged; u.s.budget.Take(need) {
		t.discard(a, old, old.charge())
		t.after = append(t.after, u.charge(need))
	} else {
		t.discard(a, old, 0)
	}
	u.link(t, a, m)
	*info, *created = m.info(a), true
	return nil
}

// overwrite links the object in place of a record that cannot be read. The address is the content's, so that one counted as
// much as this: its charge passes on. Where its payload is, nobody knows any more.
func (u *upload) overwrite(t *tx, a store.Address, m *meta) {
	t.sums.objects--
	t.sums.bytes -= m.charge()
	u.link(t, a, m)
}

// charge settles, when the commit has ended, what an object was charged beside what its stream had been.
func (u *upload) charge(need int64) func(error) {
	return func(err error) {
		if err != nil {
			u.s.budget.Give(need)
			return
		}
		u.charged = 0
	}
}

// link writes the record, and the groups that have not been written yet.
func (u *upload) link(t *tx, a store.Address, m *meta) {
	if !u.batch.Empty() {
		_ = t.b.Apply(u.batch, nil)
	}
	if u.landed {
		_ = t.b.Delete(garbageKey(u.id), nil)
	}
	_ = t.b.Delete(damageKey(a), nil)
	_ = t.b.Set(objectKey(a), m.encode(a), nil)
	if m.expires != 0 {
		_ = t.b.Set(expiryKey(m.expires, a), nil, nil)
	}
	t.sums.objects++
	t.sums.bytes += m.charge()
	t.after = append(t.after, func(err error) {
		if err == nil {
			u.landed = false
		}
	})
}

// later is the longer of two lives; 0, which is never, is the longest.
func later(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// extend gives an object the longer of its life and another.
func (t *tx) extend(a store.Address, m *meta, expires int64) *meta {
	life := later(m.expires, expires)
	if life == m.expires {
		return m
	}
	_ = t.b.Delete(expiryKey(m.expires, a), nil)
	longer := *m
	longer.expires = life
	_ = t.b.Set(objectKey(a), longer.encode(a), nil)
	if life != 0 {
		_ = t.b.Set(expiryKey(life, a), nil, nil)
	}
	return &longer
}

// drop gives back whatever the upload still holds.
func (u *upload) drop() {
	_ = u.batch.Close()
	clear(u.buffer[:])
	groupBuffers.Put(u.buffer)
	if u.landed {
		u.s.eraseSoon(u.id, u.body.Total()/store.GroupSize+1)
	}
	u.s.budget.Give(u.charged)
	u.h.leave()
}
