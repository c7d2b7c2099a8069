package actors

import (
	"context"
	"fmt"
	"time"

	"micronode/actors/mailbox"
	"micronode/kernel"
	"micronode/store"
)

const (
	// sweepEvery is how often the storage actor looks for expired objects; a read
	// does not wait for it, an expired object is invisible at once.
	sweepEvery = time.Second
	// diskEvery is how often it looks whether the disk has failed, spaceEvery how
	// often how much room there is: both far below the second in which readiness has
	// to tell.
	diskEvery  = 100 * time.Millisecond
	spaceEvery = 500 * time.Millisecond
	// reopenEvery is how long it waits between two tries to open a disk that failed.
	reopenEvery = time.Second
	// slowCommit is a commit of which readiness tells: a thousand times what an
	// fsync takes.
	slowCommit = 250 * time.Millisecond
	// healedFor is how long readiness tells of a disk that was opened anew.
	healedFor = 5 * time.Second
)

// Messages of the storage actor to itself.
type (
	sweep    struct{}
	tendDisk struct{}
)

// storage tends the objects: it looks at the store before it opens the gate,
// gives back what has expired, and sees to a disk that fills up or fails. The
// store itself belongs to the node.
type storage struct {
	n      *Node
	life   *kernel.Life
	looked time.Time
}

// Start opens the gate once the store answers.
func (s *storage) Start(ctx context.Context, life *kernel.Life) error {
	s.life = life
	if err := tryStore(ctx, s.n.objects); err != nil && (s.n.disk == nil || s.n.disk.Failed() == nil) {
		return err
	}
	s.n.gate.lend(s.n.objects)
	if _, ok := s.n.objects.(store.Sweeper); ok {
		life.Tick(sweepEvery, sweep{})
	}
	if s.n.disk != nil {
		life.Tick(diskEvery, tendDisk{})
		if _, ok := s.n.disk.(Scrubber); ok {
			life.Go("scrub", s.n.scrubbing)
		}
	}
	return nil
}

// Receive sweeps, and tends the disk.
func (s *storage) Receive(_ context.Context, msg any) error {
	switch msg.(type) {
	case sweep:
		if s.n.disk == nil {
			s.n.objects.(store.Sweeper).Sweep(s.n.opt.Now())
		} else if s.n.disk.Failed() == nil {
			s.sweepDisk()
		}
	case tendDisk:
		s.tend()
	}
	return nil
}

// Stop leaves the gate as it is: reads stay open while the actor is down.
func (s *storage) Stop() {}

// sweepDisk waits for an fsync, which an actor must not: a task does.
func (s *storage) sweepDisk() {
	care := &s.n.care
	if !care.begin(&care.sweeping) {
		return
	}
	s.life.Go("sweep", func(context.Context) error {
		defer care.end(&care.sweeping)
		s.n.disk.Sweep(s.n.opt.Now())
		return nil
	})
}

// tend tells readiness how the disk is, and opens it anew where it has failed.
func (s *storage) tend() {
	now, ledger := s.n.opt.Now(), s.n.tree.Ledger()
	switch failed := s.n.disk.Failed(); {
	case failed != nil:
		s.fell(now, failed)
	case s.n.care.unrestored(): // it was opened anew, and could not be read at once
		s.reopen(now)
	default:
		s.recovered(now)
	}
	s.timed(now)
	if now.Sub(s.looked) < spaceEvery && s.looked.Before(now) {
		return
	}
	s.looked = now
	if space := s.n.disk.Look(); space.Full {
		detail := fmt.Sprintf("%s free, %s is kept free; writes are refused, reads and deletes go on. Free some space or delete objects; writing begins again by itself",
			size(space.Free), size(space.Reserve))
		ledger.Raise(kernel.Cause{Name: causeFull, Detail: detail, Effect: kernel.PlaneReadOnly, Plane: planeObjects})
		ledger.Raise(kernel.Cause{Name: causeFullMail, Detail: detail, Effect: kernel.PlaneReadOnly, Plane: mailbox.ActorName})
	} else {
		ledger.Clear(causeFull)
		ledger.Clear(causeFullMail)
	}
}

// timed tells of a disk that takes its time.
func (s *storage) timed(now time.Time) {
	ledger, care, slowest := s.n.tree.Ledger(), &s.n.care, s.n.disk.Slowest()
	care.mu.Lock()
	defer care.mu.Unlock()
	switch {
	case slowest >= slowCommit:
		care.slow = now
		ledger.Raise(kernel.Cause{Name: causeSlow, Effect: kernel.Warn, Detail: fmt.Sprintf("a commit takes %v, and every write waits for it; see what else uses the disk (iostat)", slowest.Round(time.Millisecond))})
	case !care.slow.IsZero() && now.Sub(care.slow) >= healedFor:
		care.slow = time.Time{}
		ledger.Clear(causeSlow)
	}
}

// fell: the handle has failed. Nothing is acknowledged until another one is open.
func (s *storage) fell(now time.Time, why error) {
	ledger := s.n.tree.Ledger()
	detail := why.Error() + "; nothing is acknowledged, what was is kept, reads go on; it is opened anew every second. Look at the disk (dmesg)"
	ledger.Raise(kernel.Cause{Name: causeDisk, Detail: detail, Effect: kernel.NotReady})
	ledger.Raise(kernel.Cause{Name: causeDisk + "_objects", Detail: detail, Effect: kernel.PlaneReadOnly, Plane: planeObjects})
	if s.n.mail != nil {
		ledger.Raise(kernel.Cause{Name: causeDiskMail, Detail: detail, Effect: kernel.PlaneClosed, Plane: mailbox.ActorName})
		s.n.mail.Halt()
	}
	care := &s.n.care
	care.mu.Lock()
	first := care.fell.IsZero() || care.warned
	care.fell, care.warned, care.stale = now, false, true
	care.mu.Unlock()
	if first {
		s.n.diskEvent("DiskFailed", why)
	}
	s.reopen(now)
}

// reopen opens the directory anew and restores the mailbox from it, behind the
// scenes and once a second at most.
func (s *storage) reopen(now time.Time) {
	care := &s.n.care
	care.mu.Lock()
	due := !care.reopening && (now.Sub(care.tried) >= reopenEvery || care.tried.After(now))
	if due {
		care.reopening, care.tried = true, now
	}
	care.mu.Unlock()
	if !due {
		return
	}
	s.life.Go("reopen", func(ctx context.Context) error {
		defer care.end(&care.reopening)
		err := s.n.disk.Reopen(ctx)
		if err == nil {
			err = s.n.restoreMail(ctx)
		}
		if err != nil {
			s.n.diskEvent("DiskReopenFailed", err)
			return nil // tried again: it is no crash
		}
		care.end(&care.stale)
		return nil
	})
}

// recovered clears what a failure has raised, once nothing is under way any more.
func (s *storage) recovered(now time.Time) {
	ledger, care := s.n.tree.Ledger(), &s.n.care
	care.mu.Lock()
	defer care.mu.Unlock()
	if care.reopening || care.fell.IsZero() {
		return
	}
	if !care.warned {
		care.warned = true
		ledger.Raise(kernel.Cause{Name: causeDisk, Detail: "it had failed and was opened anew; what had been acknowledged is there", Effect: kernel.Warn})
		ledger.Clear(causeDisk + "_objects")
		ledger.Clear(causeDiskMail)
		s.n.diskEvent("DiskReopened", nil)
	}
	if now.Sub(care.fell) >= healedFor {
		care.fell, care.warned = time.Time{}, false
		ledger.Clear(causeDisk)
	}
}

// diskData goes with what happens to the disk.
type diskData struct {
	Detail string `json:"detail,omitempty"` // why it failed; empty: it did not
}

func (n *Node) diskEvent(kind string, err error) {
	var d diskData
	if err != nil {
		d.Detail = err.Error()
	}
	n.bus.Publish(kernel.Event{Topic: topic("store"), Kind: kind, Service: actorStorage, Data: d})
}

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
