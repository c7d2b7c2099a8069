package actors

import (
	"context"
	"errors"
	"time"

	"micronode/kernel"
)

const (
	// announceFor is how long the listeners stay open at least after readyz
	// has turned 503, so that no client is refused before it could know.
	announceFor = 100 * time.Millisecond
	// childrenWithin and closeWithin are kept back from the drain's deadline, or
	// a share of it when it is short.
	childrenWithin = time.Second
	closeWithin    = 500 * time.Millisecond
	childrenShare  = 5  // at most a fifth
	closeShare     = 10 // and a tenth
)

// ErrLogStuck: whoever reads the log does not; its last lines may be lost.
var ErrLogStuck = errors.New("actors: the log does not take its last lines")

// Stop drains and stops the node (contract §9): readyz turns 503, Shutdown is
// published, the listeners stay open for a moment, or for drain_grace when
// grace is set, then nothing new is accepted, what was begun finishes, the
// actors stop in reverse, metrics and the operator socket close last. ctx may
// shorten it; drain_deadline bounds it. Requests that do not end in time are cut,
// logged and counted in tasks_aborted_total, which is no error. Later calls return
// the first's result. Errors: kernel.ErrAbandoned, ErrLogStuck.
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
		wait = max(wait, n.config().Config.DrainGrace)
	}
	n.announce(ctx, wait)
	all := n.config().Config.DrainDeadline
	forChildren, forClose := min(childrenWithin, all/childrenShare), min(closeWithin, all/closeShare)
	end := time.Now().Add(all - min(announceFor, all/closeShare))
	doorBy, cancelDoor := context.WithDeadline(ctx, end.Add(-forChildren-forClose))
	defer cancelDoor()
	n.drainDoor(doorBy)
	childrenBy, cancelChildren := context.WithDeadline(ctx, end.Add(-forClose))
	defer cancelChildren()
	err := n.stopChildren(childrenBy)
	closeBy, cancelClose := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancelClose()
	return errors.Join(err, n.closeAll(closeBy))
}

func (n *Node) publishStop(kind string) {
	n.bus.Publish(kernel.Event{Topic: topic("shutdown"), Kind: kind, Data: struct {
		DeadlineMS int64 `json:"deadline_ms"`
	}{n.config().Config.DrainDeadline.Milliseconds()}})
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
	if cut, err := n.door.Drain(ctx); err != nil {
		n.metrics.aborted("request", cut)
		n.bus.Publish(kernel.Event{Topic: topic("shutdown"), Kind: "DrainCut", Data: drainCut{cut, err.Error()}})
	}
}

// drainCut goes with the event DrainCut: the drain ran into its deadline.
type drainCut struct {
	Requests int64  `json:"requests"` // that lost their answer; 0: only connections were left
	Reason   string `json:"reason"`
}

// abandonStart undoes a start that failed before the tree ran.
func (n *Node) abandonStart() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = n.closeAll(ctx)
}

// stopChildren stops the actors in reverse and shuts the gate behind them.
func (n *Node) stopChildren(ctx context.Context) error {
	err := n.tree.Stop(ctx)
	n.gate.shut()
	n.ring.Close()
	if n.mail != nil {
		n.mail.Close()
	}
	return err
}

// closeAll ends what is left: the bus, so that tails and observers show the
// last events, the operator socket, and metrics last.
func (n *Node) closeAll(ctx context.Context) error {
	var err error
	n.bus.Close()
	if n.door != nil {
		var cut int64
		if cut, err = n.door.Close(ctx); cut > 0 { // orders and scrapes: the drain has seen to the others
			n.metrics.aborted("request", cut)
		}
	}
	n.ring.Close()
	n.healer.close()
	err = errors.Join(err, n.closeDisk(), n.endObservers())
	n.metrics.unregister()
	return err
}

// endObservers waits for the observers' last events, but not for ever: a log
// that nobody reads blocks its writer.
func (n *Node) endObservers() error {
	done := make(chan struct{})
	go func() { // left behind where it blocks: nobody can end a write
		defer close(done)
		for _, stop := range n.observed {
			stop()
		}
	}()
	grace := time.NewTimer(closeWithin)
	defer grace.Stop()
	select {
	case <-done:
		return nil
	case <-grace.C:
		return ErrLogStuck
	}
}
