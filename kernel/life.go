package kernel

import (
	"context"
	"fmt"
	"time"
)

// Life is one incarnation as its actor sees it.
type Life struct{ inc *incarnation }

// Name returns the child's name.
func (l *Life) Name() string { return l.inc.cell.name }

// Incarnation counts from 1 over the child's restarts.
func (l *Life) Incarnation() uint64 { return l.inc.gen }

// Go runs fn on a goroutine that this incarnation owns: its ctx ends with the
// incarnation, and the next one starts only after fn has returned. A panic or
// an error from fn, while ctx is alive, is a crash of the actor; a panic later is
// published as a Fault. task names it in the reason.
func (l *Life) Go(task string, fn func(ctx context.Context) error) {
	inc := l.inc
	inc.tasks.Go(func() {
		returned := false
		defer func() {
			if v := recover(); v != nil {
				inc.fall(crashOf(task+" panicked: ", v))
			} else if !returned {
				inc.fall(&crash{reason: task + " ended by runtime.Goexit"})
			}
		}()
		err := fn(inc.ctx)
		returned = true
		if err != nil && inc.ctx.Err() == nil {
			inc.fall(&crash{reason: clip(fmt.Sprintf("%s: %v", task, err), maxReason)})
		}
	})
}

// Tick sends msg to the actor's own queue every d, until the incarnation ends.
// A tick that finds the queue full is dropped: the next one will do.
func (l *Life) Tick(d time.Duration, msg any) {
	inc := l.inc
	l.Go("ticker", func(ctx context.Context) error {
		t := time.NewTicker(d)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
				_ = inc.cell.send(msg, inc) // refused only when full or going down
			}
		}
	})
}

// After sends msg to the actor's own queue once, after d; at once when d <= 0.
// It costs nothing while it waits and ends with the incarnation: nothing of it
// reaches the next one. What falls due during Actor.Start is queued when Start
// returns. A queue that is full drops msg, so an actor that depends on its
// timer sets it anew after each message that it handles. cancel may be called
// at any time and more than once; it does not recall what is queued already.
func (l *Life) After(d time.Duration, msg any) (cancel func()) { return l.inc.alarms.after(d, msg) }
