package pebble

import (
	"context"

	"micronode/store"
)

// MaxNote bounds one note, in bytes.
const MaxNote = 16 << 20

// Note returns what SetNote has kept under a name. Errors: store.ErrNotFound, ErrCorrupt, ErrNotReady.
func (s *Store) Note(name string) ([]byte, error) {
	h, err := s.reader()
	if err != nil {
		return nil, err
	}
	defer h.leave()
	k := noteKey(name)
	b, err := h.get(k)
	if err != nil {
		return nil, err
	}
	note, ok := unseal(b, k)
	if !ok {
		return nil, store.ErrCorrupt
	}
	return note, nil
}

// SetNote keeps a value under a name, durably; nil forgets it.
func (s *Store) SetNote(name string, value []byte) error {
	if len(value) > MaxNote {
		return store.ErrTooLarge
	}
	k := noteKey(name)
	return s.do(&op{bytes: len(value), write: func(t *tx) error {
		if value == nil {
			_ = t.b.Delete(k, nil)
		} else {
			_ = t.b.Set(k, seal(append([]byte(nil), value...), k), nil)
		}
		return nil
	}})
}

// Notes returns the names that are kept.
func (s *Store) Notes(ctx context.Context) (names []string, err error) {
	err = s.scan(ctx, []byte{prefixNote}, []byte{prefixNote + 1}, func(k, _ []byte) bool {
		names = append(names, string(k[1:]))
		return true
	})
	return names, err
}

func noteKey(name string) []byte { return append([]byte{prefixNote}, name...) }
