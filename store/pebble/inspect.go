package pebble

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"micronode/store"
)

// inspectPage is how many records Inspect takes at a time.
const inspectPage = 64

// maxDamaged bounds one list of damaged objects.
const maxDamaged = 100_000

// Inspect reads every object after an address, in order, and holds it against its address; f hears of each and says whether
// to go on. Where a part of the index cannot be read, it says so with the zero Address and goes on behind it. Errors:
// store.ErrNotReady, ctx's.
func (s *Store) Inspect(ctx context.Context, after store.Address, f func(store.Finding) bool) error {
	for {
		page, err := s.records(ctx, after)
		if errors.Is(err, store.ErrCorrupt) && len(page) == 0 {
			next, found := s.behind(ctx, after)
			if !f(store.Finding{Size: -1, Err: fmt.Errorf("the index behind %v: %w", after, err), Detail: err.Error()}) || !found {
				return nil
			}
			after = next
			continue
		}
		if err != nil && !errors.Is(err, store.ErrCorrupt) || len(page) == 0 {
			return err
		}
		for _, a := range page {
			found, gone := s.inspectOne(ctx, a)
			switch {
			case errors.Is(found.Err, store.ErrNotReady), ctx.Err() != nil:
				return errors.Join(found.Err, ctx.Err())
			case !gone && !f(found):
				return nil
			}
		}
		after = page[len(page)-1]
	}
}

// records returns the next addresses.
func (s *Store) records(ctx context.Context, after store.Address) ([]store.Address, error) {
	h, err := s.reader()
	if err != nil {
		return nil, err
	}
	defer h.leave()
	return h.records(ctx, after)
}

func (h *handle) records(ctx context.Context, after store.Address) (page []store.Address, err error) {
	from := objectKey(after)
	if after != (store.Address{}) {
		from = append(from, 0)
	}
	err = h.scan(ctx, from, []byte{prefixObject + 1}, func(k, _ []byte) bool {
		if len(k) == 33 {
			page = append(page, store.Address(k[1:]))
		}
		return len(page) < inspectPage
	})
	return page, err
}

func (s *Store) behind(ctx context.Context, after store.Address) (store.Address, bool) {
	h, err := s.reader()
	if err != nil {
		return after, false
	}
	defer h.leave()
	return behind(ctx, h, after)
}

// behind looks for the first place after a part of the index that cannot be read.
func behind(ctx context.Context, h *handle, after store.Address) (store.Address, bool) {
	at := binary.BigEndian.Uint64(after[:])
	for step := uint64(1) << 40; step != 0; step *= 2 {
		next := at + step
		if next < at {
			break
		}
		var a store.Address
		binary.BigEndian.PutUint64(a[:], next)
		if page, err := h.records(ctx, a); !errors.Is(err, store.ErrCorrupt) || len(page) > 0 {
			return a, err == nil || len(page) > 0
		}
	}
	return after, false
}

func (s *Store) inspectOne(ctx context.Context, a store.Address) (f store.Finding, gone bool) {
	f = store.Finding{Address: a, Size: -1}
	m, err := s.pinned(a)
	if err == nil {
		f.Size = m.size
		err = s.verify(ctx, a, m)
		s.pinsOf(a).unpin(m.id)
	}
	switch {
	case errors.Is(err, store.ErrNotFound): // deleted, or expired
		return f, true
	case err != nil:
		f.Err, f.Detail, f.Found = err, err.Error(), s.opt.Now()
	}
	return f, false
}

// damage is the record of an object that is quarantined: known to be damaged, never served, waiting to be healed.
type damage struct {
	Found  time.Time `json:"found"`
	Detail string    `json:"detail"`
}

// Quarantine notes that an object is damaged, or, with no detail, that it is well again. It does not wait. What is put again
// leaves quarantine by itself.
func (s *Store) Quarantine(a store.Address, detail string) {
	s.submit(&op{lazy: true, done: func(error) {}, write: func(t *tx) error {
		if detail == "" {
			_ = t.b.Delete(damageKey(a), nil)
			return nil
		}
		if _, err := t.h.get(damageKey(a)); err == nil {
			return nil // the first sight counts
		}
		record, err := json.Marshal(damage{t.now.UTC(), detail})
		if err != nil {
			return err
		}
		_ = t.b.Set(damageKey(a), record, nil)
		return nil
	}})
}

// Quarantined lists what is known to be damaged.
func (s *Store) Quarantined(ctx context.Context) (all []store.Finding, err error) {
	err = s.scan(ctx, []byte{prefixDamage}, []byte{prefixDamage + 1}, func(k, v []byte) bool {
		var d damage
		if len(k) == 33 && json.Unmarshal(v, &d) == nil {
			all = append(all, store.Finding{Address: store.Address(k[1:]), Size: -1, Err: store.ErrCorrupt, Found: d.Found, Detail: d.Detail})
		}
		return len(all) < maxDamaged
	})
	return all, err
}
