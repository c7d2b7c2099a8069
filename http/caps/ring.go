package caps

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a ring.
const (
	MaxRevoked = 100_000 // cap ids; each is forgotten when no token of it can be alive
	maxKnown   = 4096    // checked tokens that are remembered, twice
)

// Errors of orders.
var (
	ErrUnknownKey  = errors.New("caps: no such key")
	ErrFullRing    = errors.New("caps: too many revocations")
	ErrLastRefused = errors.New("caps: name a cap id or a kid")
)

// KeyInfo is a key as it may be shown.
type KeyInfo struct {
	KID     string     `json:"kid"`
	State   string     `json:"state"` // active | verifying
	Created time.Time  `json:"created"`
	Until   *time.Time `json:"until,omitempty"` // of a verifying key: when no token of it can be alive
	Origin  string     `json:"origin"`          // file | minted
}

type key struct {
	info KeyInfo
	slot int
}

// Ring is the keys of a node: one that mints and those that still verify. It is
// for many goroutines.
type Ring struct {
	vault *vault
	now   func() time.Time
	keep  func() error // nil: nothing outlives the process

	mu      sync.RWMutex
	keys    []key // the active one first
	revoked map[string]int64
	gone    map[string]int64       // kids of files that are not taken again
	known   atomic.Pointer[memory] // replaced when a key goes
}

// NewRing makes a ring with a key of its own. Close it.
func NewRing(now func() time.Time) (*Ring, error) {
	r, err := emptyRing(now)
	if err != nil {
		return nil, err
	}
	if _, err := r.Rotate(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func emptyRing(now func() time.Time) (*Ring, error) {
	v, err := newVault()
	if err != nil {
		return nil, fmt.Errorf("caps: no memory for keys: %w", err)
	}
	r := &Ring{vault: v, now: now, revoked: map[string]int64{}, gone: map[string]int64{}}
	r.known.Store(newMemory())
	return r, nil
}

// Locked reports whether the keys cannot reach a swap device.
func (r *Ring) Locked() bool { return r.vault.locked }

// add takes a root key in as the active one and zeroes root.
func (r *Ring) add(root []byte, origin string) (KeyInfo, error) {
	defer clear(root)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune()
	slot := r.freeSlot()
	if err := r.vault.put(slot, root); err != nil {
		return KeyInfo{}, err
	}
	k := key{info: KeyInfo{KID: r.vault.name(slot), State: "active", Created: r.now().UTC(), Origin: origin}, slot: slot}
	if _, gone := r.gone[k.info.KID]; gone && origin == "file" {
		r.vault.drop(slot)
		return k.info, nil
	}
	for i := range r.keys {
		if r.keys[i].info.KID == k.info.KID {
			r.vault.drop(slot)
			return r.keys[i].info, nil
		}
	}
	if len(r.keys) > 0 {
		until := r.now().Add(MaxTTL + 2*Skew).UTC()
		r.keys[0].info.State, r.keys[0].info.Until = "verifying", &until
	}
	r.keys = slices.Insert(r.keys, 0, k)
	return k.info, nil
}

// name is the kid that a key gives itself, so that whoever holds the key file
// names it the same: of the derived key, which it does not tell.
func (v *vault) name(slot int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.page == nil {
		return ""
	}
	var out [keyLen]byte
	v.mac(out[:], v.key(slot), []byte("micronode kid"))
	clear(v.page[:scratch])
	return hex.EncodeToString(out[:8])
}

// freeSlot is called with mu held; the oldest key makes room.
func (r *Ring) freeSlot() int {
	if len(r.keys) >= MaxKeys {
		r.forget(len(r.keys) - 1)
	}
	var taken [MaxKeys]bool
	for _, k := range r.keys {
		taken[k.slot] = true
	}
	return slices.Index(taken[:], false)
}

// prune drops keys and revocations that no living token needs; mu is held.
func (r *Ring) prune() {
	now := r.now()
	for i := len(r.keys) - 1; i > 0; i-- {
		if until := r.keys[i].info.Until; until != nil && now.After(*until) {
			r.forget(i)
		}
	}
	for id, until := range r.revoked {
		if until < now.Unix() {
			delete(r.revoked, id)
		}
	}
}

// forget zeroes a key and what was checked by it; mu is held.
func (r *Ring) forget(i int) {
	r.retire(r.keys[i].info)
	r.vault.drop(r.keys[i].slot)
	r.keys = slices.Delete(r.keys, i, i+1)
	r.known.Store(newMemory())
}

// Rotate makes a new key the active one; the old one goes on verifying until no
// token of it can be alive.
func (r *Ring) Rotate() (KeyInfo, error) {
	var root [keyLen]byte
	_, _ = rand.Read(root[:]) // never fails
	defer wipeStack()
	k, err := r.add(root[:], "minted")
	if err == nil {
		err = r.changed()
	}
	return k, err
}

// Keys lists the keys, the active one first.
func (r *Ring) Keys() []KeyInfo {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]KeyInfo, len(r.keys))
	for i, k := range r.keys {
		all[i] = k.info
	}
	return all
}

// RevokeCap refuses a token and all that were made from it from now on. Errors:
// ErrFullRing: rotate and revoke the kid instead.
func (r *Ring) RevokeCap(capID string) error {
	if !word(capID, maxCapID) {
		return fmt.Errorf("%w: this is no cap id", ErrLastRefused)
	}
	if err := r.revokeCap(capID); err != nil {
		return err
	}
	return r.changed()
}

func (r *Ring) revokeCap(capID string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune()
	if len(r.revoked) >= MaxRevoked {
		return ErrFullRing
	}
	r.revoked[capID] = r.now().Add(MaxTTL + 2*Skew).Unix()
	return nil
}

// RevokeKey zeroes a key: every token of it is refused from now on. The active
// one is replaced by a new one first. Errors: ErrUnknownKey.
func (r *Ring) RevokeKey(kid string) (KeyInfo, error) {
	keys := r.Keys()
	if len(keys) == 0 || !slices.ContainsFunc(keys, func(k KeyInfo) bool { return k.KID == kid }) {
		return KeyInfo{}, ErrUnknownKey
	}
	active := keys[0]
	if active.KID == kid {
		var err error
		if active, err = r.Rotate(); err != nil {
			return KeyInfo{}, err
		}
	}
	r.mu.Lock()
	if i := slices.IndexFunc(r.keys, func(k key) bool { return k.info.KID == kid }); i > 0 {
		r.forget(i)
	}
	r.mu.Unlock()
	return active, r.changed()
}

// Revoked is how many cap ids are refused.
func (r *Ring) Revoked() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.revoked)
}

// Close zeroes all keys. Every token is refused from now on.
func (r *Ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.vault.close()
	r.keys = nil
	clear(r.revoked)
	r.known.Store(newMemory())
}

// Check is what a token grants now. Errors: ErrMalformed, ErrForged, ErrRevoked,
// ErrExpired, ErrEarly, ErrTooLong, ErrCaveat, ErrClosed.
func (r *Ring) Check(text string) (*Grant, error) {
	if len(text) > MaxToken {
		return nil, fmt.Errorf("%w: it has 1 to %d characters", ErrMalformed, MaxToken)
	}
	id := sha256.Sum256([]byte(text))
	known := r.known.Load() // before the keys are looked at: what is found by a key that goes is put where nobody looks
	g := known.get(id)
	if g == nil {
		var err error
		if g, err = r.verify(text); err != nil {
			return nil, err
		}
		known.put(id, g)
	}
	r.mu.RLock()
	_, gone := r.revoked[g.CapID]
	closed := len(r.keys) == 0
	r.mu.RUnlock()
	switch {
	case closed:
		return nil, ErrClosed
	case gone:
		return nil, ErrRevoked
	}
	if err := g.Scope.current(r.now()); err != nil {
		return nil, err
	}
	return g, nil
}

// verify reads a token and holds it against its key.
func (r *Ring) verify(text string) (*Grant, error) {
	t, err := parse(text)
	if err != nil {
		return nil, err
	}
	caveats, err := t.conditions()
	if err != nil {
		return nil, err
	}
	if err := r.signed(t, caveats); err != nil {
		return nil, err
	}
	scope, err := t.scope()
	if err != nil {
		return nil, err
	}
	return &Grant{KID: t.kid, CapID: t.capID, Scope: scope}, nil
}

func (r *Ring) signed(t *token, caveats [][]byte) error {
	r.mu.RLock()
	defer r.mu.RUnlock() // the slot stays this key's until the chain is worked out
	i := slices.IndexFunc(r.keys, func(k key) bool { return k.info.KID == t.kid })
	if len(r.keys) == 0 {
		return ErrClosed
	}
	if i < 0 {
		return fmt.Errorf("%w: its key is not here, or was revoked", ErrForged)
	}
	_, same, err := r.vault.chain(r.keys[i].slot, t.m.Id(), caveats, t.m.Signature())
	if err == nil && !same {
		err = ErrForged
	}
	return err
}

// memory remembers checked tokens by their SHA-256, in two halves of which the
// older is forgotten when the younger is full.
type memory struct {
	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]*Grant
}

func newMemory() *memory { return &memory{young: map[[sha256.Size]byte]*Grant{}} }

func (m *memory) get(id [sha256.Size]byte) *Grant {
	m.mu.RLock()
	g, young := m.young[id]
	if !young {
		g = m.old[id]
	}
	m.mu.RUnlock()
	if g != nil && !young {
		m.put(id, g)
	}
	return g
}

func (m *memory) put(id [sha256.Size]byte, g *Grant) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= maxKnown {
		m.young, m.old = map[[sha256.Size]byte]*Grant{}, m.young
	}
	m.young[id] = g
}
