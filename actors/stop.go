package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"micronode/kernel"
)

const (
	// announceFor is how long the listeners stay open at least after readyz
	// has turned 503, so that no client is refused before it could know.
	announceFor = 100 * time.Millisecond
	// childrenWithin and closeWithin are kept back from the drain's deadline.
	childrenWithin = time.Second
	closeWithin    = 500 * time.Millisecond
)

// ErrCut: the drain's deadline passed and requests were aborted.
var ErrCut = errors.New("actors: requests were cut at the deadline")

// Stop drains and stops the node (contract §9): readyz turns 503, Shutdown is
// published, the listeners stay open for a moment, or for drain_grace when
// grace is set, then nothing new is accepted, what was begun finishes, the
// actors stop in reverse, metrics and the operator socket close last. ctx may
// shorten it; drain_deadline bounds it. Later calls return the first's result.
// Errors: ErrCut, kernel.ErrAbandoned.
func (n *Node) Stop(ctx context.Context, grace bool) error {
	n.stopOnce.Do(func() { n.stopErr = n.stop(ctx, grace) })
	return n.stopErr
}

func (n *Node) stop(ctx context.Context, grace bool) error {
	n.tree.Ledger().Raise(kernel.Cause{Name: "drain", Effect: kernel.NotReady, Detail: "the node is stopping"})
	n.publishStop("DrainStarted")
	n.publishStop(kernel.KindShutdown)
	wait := announceFor
	if grace {
		wait = max(wait, n.cfg.DrainGrace)
	}
	n.announce(ctx, wait)
	end := time.Now().Add(n.cfg.DrainDeadline - announceFor)
	doorBy, cancelDoor := context.WithDeadline(ctx, end.Add(-childrenWithin-closeWithin))
	defer cancelDoor()
	n.drainDoor(doorBy)
	childrenBy, cancelChildren := context.WithDeadline(ctx, end.Add(-closeWithin))
	defer cancelChildren()
	return errors.Join(n.stopChildren(childrenBy), n.closeAll())
}

func (n *Node) publishStop(kind string) {
	n.bus.Publish(kernel.Event{Topic: topic("shutdown"), Kind: kind, Data: struct {
		DeadlineMS int64 `json:"deadline_ms"`
	}{n.cfg.DrainDeadline.Milliseconds()}})
}

// announce keeps everything open while load balancers look away.
func (n *Node) announce(ctx context.Context, d time.Duration) {
	if n.door == nil {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// drainDoor lets what was begun finish.
func (n *Node) drainDoor(ctx context.Context) {
	if n.door == nil {
		return
	}
	if err := n.door.Drain(ctx); err != nil {
		n.log.Warn("drain ran into its deadline", zap.String("event", "drain_cut"), zap.Error(err))
	}
}

// abandonStart undoes a start that failed before the tree ran.
func (n *Node) abandonStart() { _ = n.closeAll() }

// stopChildren stops the actors in reverse and shuts the gate behind them.
func (n *Node) stopChildren(ctx context.Context) error {
	err := n.tree.Stop(ctx)
	n.gate.shut()
	return err
}

// closeAll ends what is left: the bus, so that tails and observers show the
// last events, the operator socket, and metrics last.
func (n *Node) closeAll() error {
	var err error
	n.bus.Close()
	if n.door != nil {
		cut, closeErr := n.door.Close()
		if err = closeErr; cut > 0 {
			n.metrics.aborted("request", int64(cut))
			err = errors.Join(err, fmt.Errorf("%w: %d", ErrCut, cut))
		}
	}
	for _, stop := range n.observed {
		stop()
	}
	n.metrics.unregister()
	return err
}
