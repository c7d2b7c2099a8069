package caps

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxGone bounds the kids of key files that are remembered as not to be taken again.
const maxGone = 1000

// Kept is the keys of a ring as they outlive the process: secret, to be sealed.
type Kept struct {
	Keys []KeptKey `json:"keys"` // the active one first
}

// Wipe zeroes the keys.
func (k *Kept) Wipe() {
	for i := range k.Keys {
		clear(k.Keys[i].Key)
	}
}

// KeptKey is one key, derived already: no root key is kept.
type KeptKey struct {
	KeyInfo
	Key []byte `json:"key"`
}

// Revocations are what a ring refuses; no secret. Times are unix seconds.
type Revocations struct {
	Caps map[string]int64 `json:"caps"` // cap id: until when a token of it could be alive
	Keys map[string]int64 `json:"keys"` // kid: when it was revoked or retired
}

// ErrNotKept says that a change is in force, and would be forgotten by a restart.
var ErrNotKept = errors.New("caps: in force, but not kept: it would be forgotten by a restart")

// Resume makes a ring of what an earlier one has kept. The keys of a file, when there is one, are taken as by Open, but for
// those that were revoked or retired. Close it. Errors: ErrKeyFile.
func Resume(path string, kept Kept, gone Revocations, now func() time.Time) (*Ring, error) {
	r, err := emptyRing(now)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.revoked, gone.Caps)
	maps.Copy(r.gone, gone.Keys)
	for i := len(kept.Keys) - 1; i >= 0; i-- {
		if err := r.restore(kept.Keys[i]); err != nil {
			r.Close()
			return nil, err
		}
	}
	if path != "" {
		if err := r.load(path); err != nil {
			r.Close()
			return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
		}
	}
	if len(r.keys) == 0 {
		if _, err := r.Rotate(); err != nil {
			r.Close()
			return nil, err
		}
	}
	return r, nil
}

// restore takes a kept key in as it was.
func (r *Ring) restore(k KeptKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := k.Until
	if len(k.Key) != keyLen || len(r.keys) >= MaxKeys || until != nil && r.now().After(*until) {
		return nil // it has ended meanwhile
	}
	slot := r.freeSlot()
	if err := r.vault.take(slot, k.Key); err != nil {
		return err
	}
	if r.vault.name(slot) != k.KID {
		r.vault.drop(slot)
		return fmt.Errorf("caps: the kept key %s is another one", k.KID)
	}
	r.keys = slices.Insert(r.keys, 0, key{info: k.KeyInfo, slot: slot})
	return nil
}

// take puts a key into a slot that was derived before.
func (v *vault) take(slot int, derived []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page == nil {
		return ErrClosed
	}
	copy(v.key(slot), derived)
	return nil
}

// show copies the key of a slot.
func (v *vault) show(slot int) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page == nil {
		return nil
	}
	return append([]byte(nil), v.key(slot)...)
}

// Kept copies the keys. The caller seals the copy and wipes it.
func (r *Ring) Kept() Kept {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all Kept
	for _, k := range r.keys {
		all.Keys = append(all.Keys, KeptKey{k.info, r.vault.show(k.slot)})
	}
	return all
}

// Revocations copies what is refused.
func (r *Ring) Revocations() Revocations {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return Revocations{Caps: maps.Clone(r.revoked), Keys: maps.Clone(r.gone)}
}

// OnChange has keep called after every change, before whoever ordered it is answered. Call it once, before the ring is used.
func (r *Ring) OnChange(keep func() error) { r.keep = keep }

// changed keeps what was changed; mu is not held.
func (r *Ring) changed() error {
	if r.keep == nil {
		return nil
	}
	if err := r.keep(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

// retire remembers a kid whose key has gone, so that a key file does not bring it back; mu is held.
func (r *Ring) retire(k KeyInfo) {
	if k.Origin != "file" {
		return
	}
	if len(r.gone) >= maxGone {
		oldest := ""
		for kid, at := range r.gone {
			if oldest == "" || at < r.gone[oldest] {
				oldest = kid
			}
		}
		delete(r.gone, oldest)
	}
	r.gone[k.KID] = r.now().Unix()
}
