package actors

import (
	"context"
	"crypto/rand"
	"time"

	"micronode/kernel"
)

// ticketsEvery is how often session tickets of TLS get another key; those of the
// key before are still taken, so a ticket is good for at most twice as long.
const ticketsEvery = time.Hour

type newTickets struct{}

// locksmith is the keys actor: it gives session tickets their keys. The ring of
// capabilities belongs to the node, so a crash here forgets no key and no revocation.
type locksmith struct {
	n    *Node
	keys [][32]byte
}

// Start makes the first key of tickets.
func (l *locksmith) Start(_ context.Context, life *kernel.Life) error {
	l.rotate()
	life.Tick(ticketsEvery, newTickets{})
	return nil
}

// Receive rotates.
func (l *locksmith) Receive(_ context.Context, msg any) error {
	if _, ok := msg.(newTickets); ok {
		l.rotate()
	}
	return nil
}

func (l *locksmith) rotate() {
	if l.n.door == nil {
		return
	}
	var fresh [32]byte
	_, _ = rand.Read(fresh[:]) // never fails
	l.keys = append([][32]byte{fresh}, l.keys...)
	if len(l.keys) > 2 {
		clear(l.keys[2][:])
		l.keys = l.keys[:2]
	}
	l.n.door.RotateTickets(l.keys)
}

// Stop forgets the keys of tickets.
func (l *locksmith) Stop() { clear(l.keys) }
