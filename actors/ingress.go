package actors

import (
	"context"
	"fmt"

	httpapi "micronode/http"
	"micronode/kernel"
)

// ingress keeps the door open: it starts an accept loop for every listener
// that has none, and dies when one ends, so that the next incarnation binds it
// anew. The door and its listeners belong to the node: a crash of this actor
// closes no socket and cuts no request.
type ingress struct{ door *httpapi.Door }

// Start opens the door.
func (i *ingress) Start(_ context.Context, life *kernel.Life) error {
	if err := i.door.Open(); err != nil {
		return fmt.Errorf("open the door: %w", err)
	}
	life.Go("accept", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-i.door.Failed():
			return err
		}
	})
	return nil
}

// Receive has nothing to do: requests do not pass through this actor.
func (i *ingress) Receive(context.Context, any) error { return nil }

// Stop leaves the door to the drain.
func (i *ingress) Stop() {}
