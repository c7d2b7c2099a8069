package pebble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"micronode/store"
)

const (
	// SweepObjects is the most that one Sweep frees.
	SweepObjects = 1024
	// fewGroups is up to how many groups are deleted one by one; above, by a range, which costs every later read a look.
	fewGroups = 64
)

// Delete forgets the object at a. It returns when that is durable.
func (s *Store) Delete(ctx context.Context, a store.Address) error {
	err := ctx.Err()
	if err == nil {
		err = s.do(&op{write: func(t *tx) error { return t.delete(a) }})
	}
	if err != nil {
		return fmt.Errorf("delete %v: %w", a, err)
	}
	return nil
}

func (t *tx) delete(a store.Address) error {
	if err := t.touch(a); err != nil {
		return err
	}
	m, err := t.h.meta(a)
	switch {
	case errors.Is(err, store.ErrCorrupt): // its size and payload are unknown
		_ = t.b.Delete(objectKey(a), nil)
		_ = t.b.Delete(damageKey(a), nil)
		t.sums.objects--
		return nil
	case err != nil:
		return err
	case m.expiredAt(t.now):
		return store.ErrNotFound
	}
	t.remove(a, m)
	return nil
}

// remove takes an object out, with all that hangs on it.
func (t *tx) remove(a store.Address, m *meta) {
	_ = t.b.Delete(objectKey(a), nil)
	_ = t.b.Delete(damageKey(a), nil)
	if m.expires != 0 {
		_ = t.b.Delete(expiryKey(m.expires, a), nil)
	}
	t.sums.objects--
	t.sums.bytes -= m.charge()
	t.discard(a, m, m.charge())
}

// discard deletes the payload of a record that goes: now, or when its last reader has closed. charge is given back then.
func (t *tx) discard(a store.Address, m *meta, charge int64) {
	p, s := t.s.pinsOf(a), t.s
	read := p.doom(m.id)
	if read {
		_ = t.b.Set(garbageKey(m.id), binary.BigEndian.AppendUint32(nil, uint32(m.groups())), nil)
	} else {
		t.erase(m.id, m.groups())
	}
	t.after = append(t.after, func(err error) {
		p.spare(m.id)
		switch {
		case err != nil:
		case read:
			p.whenFree(m.id, func() {
				s.budget.Give(charge)
				s.eraseSoon(m.id, m.groups())
			})
		default:
			s.budget.Give(charge)
		}
	})
}

// erase deletes the groups of a payload.
func (t *tx) erase(id blobID, groups int64) {
	t.s.compaction.erased.Add(groups * store.GroupSize)
	if groups > fewGroups {
		_ = t.b.DeleteRange(chunkKey(id, 0), chunkKey(id, uint32(groups)), nil)
		return
	}
	for i := range groups {
		_ = t.b.Delete(chunkKey(id, uint32(i)), nil)
	}
}

// eraseSoon deletes a payload that garbageKey names. Nobody waits; what a crash leaves is found by the next start.
func (s *Store) eraseSoon(id blobID, groups int64) {
	s.submit(&op{lazy: true, done: func(error) {}, write: func(t *tx) error {
		t.erase(id, groups)
		_ = t.b.Delete(garbageKey(id), nil)
		return nil
	}})
}

// clean deletes what an interrupted run has left: payloads that no object refers to.
func (s *Store) clean(h *handle) error {
	t := &tx{s: s, h: h, b: h.db.NewBatch()}
	var bad error
	err := h.scan(context.Background(), []byte{prefixGarbage}, []byte{prefixGarbage + 1}, func(k, v []byte) bool {
		if len(k) != 17 {
			bad = fmt.Errorf("%w: garbage key of %d bytes", store.ErrCorrupt, len(k))
			return false
		}
		id := blobID(k[1:])
		for i := range s.pins {
			if s.pins[i].read(id) { // of before a reopening: its last reader deletes it
				return true
			}
		}
		if len(v) == 4 {
			t.erase(id, int64(binary.BigEndian.Uint32(v)))
		} else { // an upload that was under way
			_ = t.b.DeleteRange(chunkKey(id, 0), chunkKey(id, 1<<32-1), nil)
		}
		_ = t.b.Delete(bytes.Clone(k), nil)
		return true
	})
	if err := errors.Join(err, bad); err != nil || t.b.Empty() {
		return err
	}
	return h.apply(t.b, pebble.Sync)
}

// Sweep frees what has expired by now, soonest first, at most SweepObjects.
func (s *Store) Sweep(now time.Time) (expired int) {
	type due struct {
		at int64
		a  store.Address
	}
	var all []due
	end := binary.BigEndian.AppendUint64([]byte{prefixExpiry}, uint64(now.UnixNano())+1)
	err := s.scan(context.Background(), []byte{prefixExpiry}, end, func(k, _ []byte) bool {
		if len(k) == 41 {
			all = append(all, due{int64(binary.BigEndian.Uint64(k[1:])), store.Address(k[9:])})
		}
		return len(all) < SweepObjects
	})
	if err != nil || len(all) == 0 {
		return 0
	}
	err = s.do(&op{write: func(t *tx) error {
		for _, d := range all {
			if _, taken := t.touched[d.a]; taken {
				return errNextGroup
			}
		}
		for _, d := range all {
			t.touched[d.a] = struct{}{}
			m, err := t.h.meta(d.a)
			if err == nil && m.expires == d.at {
				t.remove(d.a, m)
				expired++
				continue
			}
			_ = t.b.Delete(expiryKey(d.at, d.a), nil)
		}
		return nil
	}})
	if err != nil {
		return 0
	}
	return expired
}

// FlipBit writes a damaged group in the place of the right one.
func (s *Store) FlipBit(a store.Address, bit int64) error {
	err := s.do(&op{bytes: store.GroupSize, write: func(t *tx) error {
		if err := t.touch(a); err != nil {
			return err
		}
		m, err := t.h.meta(a)
		switch {
		case err != nil:
			return err
		case m.expiredAt(t.now):
			return store.ErrNotFound
		case bit < 0 || bit/8 >= m.size:
			return fmt.Errorf("bit %d is outside the object of %d bytes", bit, m.size)
		}
		at := bit / 8
		k := chunkKey(m.id, uint32(at/store.GroupSize))
		group, err := t.h.get(k)
		if err != nil {
			return err
		}
		group[at%store.GroupSize] ^= 1 << (bit % 8)
		_ = t.b.Set(k, group, nil)
		return nil
	}})
	if err != nil {
		return fmt.Errorf("flip a bit of %v: %w", a, err)
	}
	return nil
}
