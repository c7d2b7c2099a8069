package actors

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"micronode/actors/seal"
	"micronode/http/caps"
	"micronode/store"
)

// Notes on the disk.
const (
	noteKeys    = "keys"    // caps.Kept, sealed
	noteRevoked = "revoked" // caps.Revocations
)

// keptRing makes the ring of a node that keeps things: revocations always, keys
// when there is something to seal them with.
func (n *Node) keptRing() (*caps.Ring, error) {
	box, err := n.box()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	var gone caps.Revocations
	if b, err := n.disk.Note(noteRevoked); err == nil {
		if err := json.Unmarshal(b, &gone); err != nil {
			return nil, fmt.Errorf("the revocations on the disk: %w: %w", store.ErrCorrupt, err)
		}
	} else if !isNotFound(err) { // to start without them would let in what was refused
		return nil, fmt.Errorf("the revocations on the disk cannot be read, and a start without them would let in what was refused; restore a backup: %w", err)
	}
	kept, err := n.keptKeys(box)
	if err != nil {
		return nil, err
	}
	defer kept.Wipe()
	ring, err := caps.Resume(n.cfg.Keys.RootFile, kept, gone, n.opt.Now)
	if err != nil {
		return nil, fmt.Errorf("%w: keys.root_file: %w", ErrFile, err)
	}
	ring.OnChange(func() error { return n.keepRing(ring, box) })
	if err := n.keepRing(ring, box); err != nil {
		ring.Close()
		return nil, err
	}
	return ring, nil
}

// box is what the configuration seals with; nil: nothing.
func (n *Node) box() (*seal.Box, error) {
	k := n.cfg.Keys
	switch {
	case k.IdentityFile != "":
		return seal.Identity(k.IdentityFile)
	case k.PassphraseFile != "":
		return seal.Passphrase(k.PassphraseFile)
	}
	if k.RootFile == "" && n.cfg.Auth.Mode != authDev {
		n.log.Warn("keys are not kept: every capability ends with this process. Set keys.identity_file, keys.passphrase_file or keys.root_file",
			zap.String("event", "keys"))
	}
	return nil, nil
}

func (n *Node) keptKeys(box *seal.Box) (kept caps.Kept, err error) {
	sealed, err := n.disk.Note(noteKeys)
	switch {
	case isNotFound(err):
		return kept, nil
	case err != nil:
		return kept, fmt.Errorf("the keys on the disk: %w", err)
	case box == nil:
		n.log.Warn("there are sealed keys on the disk, and nothing to open them with: they are left alone", zap.String("event", "keys"))
		return kept, nil
	}
	plain, err := box.Open(sealed)
	if err != nil {
		return kept, fmt.Errorf("%w: the keys on the disk were sealed with another file; name that one in keys.identity_file or keys.passphrase_file: %w", ErrFile, err)
	}
	defer clear(plain)
	if err := json.Unmarshal(plain, &kept); err != nil {
		return kept, errors.New("the keys on the disk are not keys")
	}
	return kept, nil
}

// keepRing writes what the ring holds now.
func (n *Node) keepRing(ring *caps.Ring, box *seal.Box) error {
	n.keeping.Lock() // of two changes the later one is written last
	defer n.keeping.Unlock()
	gone, err := json.Marshal(ring.Revocations())
	if err != nil {
		return err
	}
	if err := n.disk.SetNote(noteRevoked, gone); err != nil || box == nil {
		return err
	}
	kept := ring.Kept()
	defer kept.Wipe()
	plain, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	defer clear(plain)
	sealed, err := box.Seal(plain)
	if err != nil {
		return err
	}
	return n.disk.SetNote(noteKeys, sealed)
}
