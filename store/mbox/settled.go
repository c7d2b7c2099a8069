package mbox

import "crypto/subtle"

// settledKept is how many of the latest acknowledgements a shard remembers, to
// tell a second ack from one for a message it never knew.
const settledKept = 4096

// settled remembers the receipts of the latest acknowledgements.
type settled struct {
	nonces map[ID][16]byte
	ring   []ID
	next   int // the oldest, once the ring is full
}

func (s *settled) add(r Receipt) {
	if s.nonces == nil {
		s.nonces = make(map[ID][16]byte)
	}
	s.nonces[r.ID] = r.Nonce
	if len(s.ring) < settledKept {
		s.ring = append(s.ring, r.ID)
		return
	}
	delete(s.nonces, s.ring[s.next])
	s.ring[s.next] = r.ID
	s.next = (s.next + 1) % settledKept
}

func (s *settled) has(r Receipt) bool {
	nonce, ok := s.nonces[r.ID]
	return ok && subtle.ConstantTimeCompare(nonce[:], r.Nonce[:]) == 1
}
