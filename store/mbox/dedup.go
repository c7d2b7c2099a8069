package mbox

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"micronode/store"
)

// keyring remembers the idempotency keys of the dedup window, whatever became
// of their messages. The map is the truth; the list, by age, follows from it.
type keyring struct {
	byName         map[keyName]*key
	oldest, newest *key
	peak           int // keys since the map was made: maps do not shrink
}

// keyName: keys of different topics have nothing to do with each other.
type keyName struct{ topic, key string }

type key struct {
	name  keyName
	id    ID
	hash  store.Address // of the payload
	until time.Duration // Mono
	next  *key          // the next younger one
}

const (
	keyOverhead = 160  // what a remembered key is charged beside its bytes
	keptPeak    = 1024 // an empty map that held more is given back
)

func keyCost(topic, key string) int64 { return int64(keyOverhead + len(topic) + len(key)) }

// keyOf returns what is to be remembered of a message that has a key.
func (q *Queue) keyOf(m *message) *key {
	return &key{name: keyName{m.name, m.key}, id: m.id, hash: m.hash, until: m.at + q.o.DedupWindow}
}

func (r *keyring) find(topic, name string) *key {
	if name == "" {
		return nil
	}
	return r.byName[keyName{topic, name}]
}

// add remembers a key that is not remembered and is younger than all others.
func (r *keyring) add(k *key) {
	if r.byName == nil {
		r.byName = make(map[keyName]*key)
	}
	r.byName[k.name] = k
	r.peak = max(r.peak, len(r.byName))
	r.append(k)
}

func (r *keyring) append(k *key) {
	k.next = nil
	if r.newest == nil {
		r.oldest = k
	} else {
		r.newest.next = k
	}
	r.newest = k
}

// expire forgets the keys whose window is over, and returns their charge.
func (r *keyring) expire(now time.Duration, j *journal) (freed int64) {
	for r.oldest != nil && r.oldest.until <= now {
		k := r.oldest
		j.key(k.name)
		delete(r.byName, k.name)
		freed += keyCost(k.name.topic, k.name.key)
		r.oldest = k.next
		if r.oldest == nil {
			r.newest = nil
		}
	}
	if r.peak > keptPeak && len(r.byName) == 0 {
		*r = keyring{}
	}
	return freed
}

// relink makes the list anew, and returns the charge of all keys.
func (r *keyring) relink() (charge int64) {
	all := make([]*key, 0, len(r.byName))
	for _, k := range r.byName {
		all = append(all, k)
		charge += keyCost(k.name.topic, k.name.key)
	}
	slices.SortFunc(all, func(a, b *key) int {
		return cmp.Or(cmp.Compare(a.until, b.until), bytes.Compare(a.id[:], b.id[:]))
	})
	r.oldest, r.newest = nil, nil
	for _, k := range all {
		r.append(k)
	}
	return charge
}
