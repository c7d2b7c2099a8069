package kernel

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Actor is what one incarnation of a child does. All three methods run on one
// goroutine, one after the other. A panic, or an error from Start or Receive,
// is a crash: the incarnation ends and the supervisor starts another.
type Actor interface {
	// Start acquires what the incarnation needs. ctx ends with the incarnation.
	Start(ctx context.Context, life *Life) error
	// Receive handles one message. It is watched: past the child's watchdog
	// the incarnation is abandoned and replaced.
	Receive(ctx context.Context, msg any) error
	// Stop releases what Start acquired, also after a failed Start or a
	// crash. ctx has ended and the incarnation's goroutines have returned.
	// A panic here is reported and changes nothing.
	Stop()
}

// Child describes one supervised actor. It is a value: the same Child may be
// started in several trees.
type Child struct {
	Name string // ^[a-z][a-z0-9_-]{0,31}$, unique in the tree
	// New makes an incarnation. It must have no side effects; acquire in Start.
	New func() Actor
	// Required: its storm, quarantine or absence makes the whole node not ready.
	Required bool
	// Vital: without it the node is not ready and its planes are closed, also while
	// it only restarts: what it does must not be left undone for a moment.
	Vital bool
	// Planes that are read-only while the child is down, and closed until it
	// has run once.
	Planes []string
	// QueueCap bounds the waiting messages; 0 means 1024.
	QueueCap int
	// Watchdog and StartTimeout override the policy's when not 0.
	Watchdog     time.Duration
	StartTimeout time.Duration
}

const defaultQueueCap = 1024

var (
	childName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

	// ErrUnknownChild: no child of that name.
	ErrUnknownChild = errors.New("kernel: no such actor")
	// ErrNotRunning: the order needs a running actor.
	ErrNotRunning = errors.New("kernel: actor is not running")
)

func (c Child) check(seen map[string]bool) error {
	switch {
	case !childName.MatchString(c.Name):
		return fmt.Errorf("kernel: child name %q does not match %s", c.Name, childName)
	case seen[c.Name]:
		return fmt.Errorf("kernel: two children are called %q", c.Name)
	case c.New == nil:
		return fmt.Errorf("kernel: child %q has no New function", c.Name)
	case c.QueueCap < 0 || c.Watchdog < 0 || c.StartTimeout < 0:
		return fmt.Errorf("kernel: child %q has a negative figure", c.Name)
	}
	seen[c.Name] = true
	return nil
}

// Ref is the address of a child. It stays valid across restarts.
type Ref struct{ cell *cell }

// Name returns the child's name.
func (r *Ref) Name() string { return r.cell.name }

// Send queues one message. It never blocks. Errors: ErrBusy when the queue is
// full, ErrDown while no incarnation runs, ErrStopped after the stop; the
// message is then not queued and its Fail is not called. Messages that were
// queued before a crash wait for the next incarnation.
func (r *Ref) Send(msg any) error { return r.cell.send(msg, nil) }

// Depth returns how many messages wait.
func (r *Ref) Depth() int { return r.cell.depth() }
