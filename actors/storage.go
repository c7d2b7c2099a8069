package actors

import (
	"context"
	"fmt"
	"time"

	"micronode/kernel"
	"micronode/store"
)

// sweepEvery is how often the storage actor looks for expired objects; a read
// does not wait for it, an expired object is invisible at once.
const sweepEvery = time.Second

type sweep struct{}

// storage tends the objects: it looks at the store before it opens the gate,
// and gives back what has expired. The store itself belongs to the node.
type storage struct{ n *Node }

// Start opens the gate once the store answers.
func (s *storage) Start(ctx context.Context, life *kernel.Life) error {
	if err := tryStore(ctx, s.n.objects); err != nil {
		return err
	}
	s.n.gate.lend(s.n.objects)
	if _, ok := s.n.objects.(store.Sweeper); ok {
		life.Tick(sweepEvery, sweep{})
	}
	return nil
}

// Receive sweeps.
func (s *storage) Receive(_ context.Context, msg any) error {
	if _, ok := msg.(sweep); ok {
		s.n.objects.(store.Sweeper).Sweep(s.n.opt.Now())
	}
	return nil
}

// Stop leaves the gate as it is: reads stay open while the actor is down.
func (s *storage) Stop() {}

// tryStore reads something that is not there: the cheapest call that goes the
// whole way.
func tryStore(ctx context.Context, s store.Store) error {
	b, err := s.Open(ctx, store.Address{})
	switch {
	case err == nil:
		return b.Close()
	case isNotFound(err):
		return nil
	default:
		return fmt.Errorf("the store does not answer: %w", err)
	}
}
