package mem

import (
	"bytes"
	"fmt"

	"micronode/store"
)

// FlipBit puts a damaged copy in the place of the object, so that it races with no reader: blobs open by then keep the good
// bytes. The copy takes the charge over.
func (s *Store) FlipBit(a store.Address, bit int64) error {
	for {
		o := s.index.get(&a)
		if o == nil || s.expired(o) {
			return fmt.Errorf("flip a bit of %v: %w", a, store.ErrNotFound)
		}
		if bit < 0 || bit/8 >= o.size() {
			return fmt.Errorf("flip a bit of %v: bit %d is outside the object of %d bytes", a, bit, o.size())
		}
		if !o.pin() {
			continue
		}
		done := s.swap(o, damagedCopy(o, bit))
		s.unpin(o)
		if done {
			s.unpin(o) // the pin of the index
			return nil
		}
	}
}

func damagedCopy(o *object, bit int64) *object {
	var groups [][]byte
	o.each(func(p []byte) { groups = append(groups, bytes.Clone(p)) })
	at := bit / 8
	groups[at/store.GroupSize][at%store.GroupSize] ^= 1 << (bit % 8)
	if o.large == nil {
		return newObject(o.addr, groups, nil)
	}
	return newObject(o.addr, groups, o.large.cvs)
}

// swap links a copy in place of o, if o is still there.
func (s *Store) swap(o, twin *object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.index.get(&o.addr) != o {
		return false
	}
	s.expiry.remove(o)
	twin.expires.Store(o.expires.Load())
	s.index.put(twin)
	s.expiry.add(twin)
	twin.charge, o.charge = o.charge, 0
	return true
}
