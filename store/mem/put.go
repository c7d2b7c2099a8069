package mem

import (
	"context"
	"fmt"
	"io"
	"time"

	"micronode/store"
)

// Put implements store.Store. Of uploads of the same bytes at the same time exactly one is kept and says created.
func (s *Store) Put(ctx context.Context, src io.Reader, opt store.PutOptions) (store.Info, bool, error) {
	u := s.newUpload(src, opt)
	defer u.drop() // also when src panics
	info, created, err := s.put(ctx, u)
	if err != nil {
		return store.Info{}, false, fmt.Errorf("put: %w", err)
	}
	return info, created, nil
}

func (s *Store) put(ctx context.Context, u *upload) (store.Info, bool, error) {
	if err := u.admit(); err != nil {
		return store.Info{}, false, err
	}
	if err := u.read(ctx); err != nil {
		return store.Info{}, false, err
	}
	if err := ctx.Err(); err != nil {
		return store.Info{}, false, err
	}
	a, cvs := u.hash.Sum()
	if want := u.opt.Expect; want != nil && *want != a {
		return store.Info{}, false, fmt.Errorf("got %v, expected %v: %w", a, *want, store.ErrMismatch)
	}
	fresh := newObject(a, u.groups, cvs)
	if u.opt.TTL > 0 {
		at := s.now().Add(u.opt.TTL)
		fresh.expires.Store(&at)
	}
	return s.commit(u, fresh)
}

// commit stores fresh, or finds that it is there.
func (s *Store) commit(u *upload, fresh *object) (store.Info, bool, error) {
	info := fresh.info()
	for {
		rival, err := s.link(u, fresh)
		switch {
		case err != nil:
			return store.Info{}, false, err
		case rival == nil:
			return info, true, nil
		}
		there, created := rival.info(), false
		same := rival.equal(fresh)
		if !same {
			there, created = s.heal(u, rival, fresh)
		}
		s.unpin(rival)
		if same || created {
			return there, created, nil
		}
		// The damaged copy went away meanwhile: try again.
	}
}

// link puts fresh into the index. When the object is there already it is returned instead, pinned, its life extended.
func (s *Store) link(u *upload, fresh *object) (rival *object, err error) {
	for {
		rival, linked := s.tryLink(u, fresh, s.clock())
		if rival != nil || linked {
			return rival, nil
		}
		if u.gone {
			return nil, fmt.Errorf("nothing to heal: %w", store.ErrNotFound)
		}
		if !s.reclaim() {
			return nil, fmt.Errorf("no room for %d bytes: %w", fresh.size(), store.ErrFull)
		}
	}
}

func (s *Store) tryLink(u *upload, fresh *object, now time.Time) (rival *object, linked bool) {
	expired, rival, linked := s.linkLocked(u, fresh, now)
	if expired != nil {
		s.unpin(expired)
	}
	return rival, linked
}

func (s *Store) linkLocked(u *upload, fresh *object, now time.Time) (expired, rival *object, linked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.index.get(&fresh.addr)
	if old != nil && !old.expiredAt(now) {
		old.pins.Add(1) // the index's own pin is there as long as mu is held
		if !u.opt.Heal {
			s.expiry.extend(old, fresh.expires.Load())
		}
		return nil, old, false
	}
	if u.opt.Heal {
		u.gone = true
		return nil, nil, false
	}
	need := fresh.charge - u.charged
	switch {
	case s.ledger.take(need):
	case old != nil:
		inherit(s, old, u)
	default:
		return nil, nil, false
	}
	s.adopt(u, fresh, old)
	return old, nil, true
}

// heal replaces a damaged copy, if it is still in the index, by the right bytes, under the longer of the two lives.
func (s *Store) heal(u *upload, bad, fresh *object) (store.Info, bool) {
	info, healed := s.healLocked(u, bad, fresh)
	if healed {
		s.unpin(bad)
	}
	return info, healed
}

func (s *Store) healLocked(u *upload, bad, fresh *object) (store.Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.get(&bad.addr) != bad {
		return store.Info{}, false
	}
	fresh.expires.Store(bad.expires.Load()) // extended already
	if !s.ledger.take(fresh.charge - u.charged) {
		inherit(s, bad, u)
	}
	s.adopt(u, fresh, bad)
	return fresh.info(), true
}

// inherit passes the charge of an object that is about to be replaced to its successor of the same size: a full store has
// room for what it holds already. While a reader keeps the old copy open, its bytes are then not counted.
func inherit(s *Store, old *object, u *upload) {
	s.ledger.give(u.charged)
	old.charge = 0
}

// adopt links fresh in place of old (or of nothing), and takes bytes and charge over from the upload. The caller holds mu
// and unpins old afterwards.
func (s *Store) adopt(u *upload, fresh, old *object) {
	if old == nil {
		s.objects.Add(1)
	} else {
		s.expiry.remove(old)
	}
	s.index.put(fresh)
	s.expiry.add(fresh)
	u.groups, u.charged = nil, 0
}

// charge takes n bytes, making room by sweeping what has expired. ErrFull when there is none.
func (s *Store) charge(n int64) error {
	for !s.ledger.take(n) {
		if !s.reclaim() {
			return store.ErrFull
		}
	}
	return nil
}
