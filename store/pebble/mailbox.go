package pebble

import (
	"context"
	"errors"
	"fmt"

	"micronode/store"
	"micronode/store/mbox"
)

// Append writes what queues have changed, in the order of the calls. done is called once, on the committer, and must not
// wait: with nil when the changes, and all before them, are durable, or when lazy only on their way; else with
// store.ErrNotReady, and then no later change is taken before Reopen.
func (s *Store) Append(c mbox.Changes, lazy bool, done func(error)) {
	o := &op{lazy: lazy, done: done}
	if !c.Empty() {
		o.write = func(t *tx) error {
			t.journal(&c)
			return nil
		}
		for i := range c.Sent {
			o.bytes += len(c.Sent[i].Payload)
		}
	}
	s.submit(o)
}

func (t *tx) journal(c *mbox.Changes) {
	for i := range c.Sent {
		r := &c.Sent[i]
		_ = t.b.Set(bodyKey(r.ID), encodeBody(r), nil)
		_ = t.b.Set(lifeKey(r.ID), encodeLife(r), nil)
	}
	for i := range c.Moved {
		r := &c.Moved[i]
		_ = t.b.Set(lifeKey(r.ID), encodeLife(r), nil)
	}
	for _, id := range c.Gone {
		_ = t.b.Delete(bodyKey(id), nil)
		_ = t.b.Delete(lifeKey(id), nil)
	}
	for i := range c.Keys {
		at := dedupKey(c.Keys[i].Topic, c.Keys[i].Key)
		_ = t.b.Set(at, encodeKey(&c.Keys[i], at), nil)
	}
	for i := range c.KeysGone {
		_ = t.b.Delete(dedupKey(c.KeysGone[i].Topic, c.KeysGone[i].Key), nil)
	}
}

// Mail reads the rows of all messages and keys. Errors: store.ErrCorrupt when a table of them cannot be read at all,
// store.ErrNotReady.
func (s *Store) Mail(ctx context.Context) (m mbox.Mail, err error) {
	lives := map[mbox.ID][]byte{}
	err = s.scan(ctx, []byte{prefixLife}, []byte{prefixLife + 1}, func(k, v []byte) bool {
		if len(k) == 17 {
			lives[mbox.ID(k[1:])] = append([]byte(nil), v...)
		}
		return true
	})
	if err == nil {
		err = s.scan(ctx, []byte{prefixBody}, []byte{prefixBody + 1}, func(k, v []byte) bool {
			if len(k) != 17 {
				return true
			}
			r := mbox.Row{ID: mbox.ID(k[1:])}
			life, ok := lives[r.ID]
			delete(lives, r.ID)
			bad := decodeBody(&r, v)
			if ok {
				bad = errors.Join(bad, decodeLife(&r, life))
			} else {
				bad = errors.Join(bad, fmt.Errorf("message %v has no state: %w", r.ID, store.ErrCorrupt))
			}
			if bad != nil {
				m.Damaged = append(m.Damaged, bad)
			} else {
				m.Rows = append(m.Rows, r)
			}
			return true
		})
	}
	if err == nil {
		err = s.scan(ctx, []byte{prefixDedup}, []byte{prefixDedup + 1}, func(k, v []byte) bool {
			row, bad := decodeKey(k, v)
			if bad != nil {
				m.Damaged = append(m.Damaged, bad)
			} else {
				m.Keys = append(m.Keys, row)
			}
			return true
		})
	}
	for id := range lives {
		m.Damaged = append(m.Damaged, fmt.Errorf("message %v has no body: %w", id, store.ErrCorrupt))
	}
	if err != nil {
		return m, fmt.Errorf("mailbox: %w", err)
	}
	return m, nil
}
