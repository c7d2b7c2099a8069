package kernel

import "sync"

type cellState uint8

const (
	cellDown cellState = iota // no incarnation serves: refuse, keep what is queued
	cellUp
	cellClosed // for good
)

// cell is the queue of one child. It outlives every incarnation, so messages
// that wait behind a crash are delivered to the next one.
//
// The actor library's own mailbox carries only ticks: one for each queued
// message, "there is something in your cell". A tick too many finds nothing
// and is harmless; there is never one too few, because a message is queued
// before its tick is posted, and a new incarnation gets a tick for everything
// it finds.
type cell struct {
	name string
	cap  int

	mu    sync.Mutex
	state cellState
	owner *incarnation // the one that is served; an older one's calls do nothing
	queue []any        // FIFO from head
	head  int
	post  func() // posts one tick to the owner; nil while there is none
}

// send queues msg. from is nil, or the incarnation that sends to itself: once
// it is not the owner any more its messages are refused.
func (c *cell) send(msg any, from *incarnation) error {
	if msg == nil {
		return nil // the library would spin for ever on nil
	}
	c.mu.Lock()
	switch {
	case c.state == cellClosed:
		c.mu.Unlock()
		return ErrStopped
	case c.state == cellDown, from != nil && from != c.owner:
		c.mu.Unlock()
		return ErrDown
	case len(c.queue)-c.head >= c.cap:
		c.mu.Unlock()
		return ErrBusy
	}
	if c.head > len(c.queue)/2 && len(c.queue) == cap(c.queue) { // amortised: moves less than it frees
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	c.queue = append(c.queue, msg)
	post := c.post
	c.mu.Unlock()
	if post != nil {
		post()
	}
	return nil
}

// next takes the oldest message; nil when there is none, or when by is not the
// owner any more.
func (c *cell) next(by *incarnation) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owner != by || c.head == len(c.queue) {
		return nil
	}
	msg := c.queue[c.head]
	c.queue[c.head] = nil
	c.head++
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	}
	return msg
}

// up makes inc the owner and wakes it once for each waiting message.
func (c *cell) up(inc *incarnation, post func()) {
	c.mu.Lock()
	if c.state == cellClosed {
		c.mu.Unlock()
		return
	}
	c.state, c.owner, c.post = cellUp, inc, post
	n := len(c.queue) - c.head
	c.mu.Unlock()
	for range n {
		post()
	}
}

// down disconnects inc and reports whether it was the owner; what is queued
// stays.
func (c *cell) down(inc *incarnation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owner != inc || c.state == cellClosed {
		return false
	}
	c.state, c.owner, c.post = cellDown, nil, nil
	return true
}

// close disconnects for good and answers everything that still waits.
func (c *cell) close() {
	c.mu.Lock()
	left := c.queue[c.head:]
	c.queue, c.head, c.owner, c.post, c.state = nil, 0, nil, nil, cellClosed
	c.mu.Unlock()
	for _, msg := range left {
		fail(msg, ErrStopped)
	}
}

func (c *cell) depth() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) - c.head
}

// serves reports whether messages reach inc.
func (c *cell) serves(inc *incarnation) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == cellUp && c.owner == inc
}

// wake posts a tick that belongs to no message, if inc is the owner.
func (c *cell) wake(inc *incarnation) {
	c.mu.Lock()
	post := c.post
	if c.owner != inc {
		post = nil
	}
	c.mu.Unlock()
	if post != nil {
		post()
	}
}

// fail answers a message with an error, whatever its Fail does.
func fail(msg any, err error) {
	f, ok := msg.(Failer)
	if !ok {
		return
	}
	defer func() { _ = recover() }() // a foreign Fail must not take the supervisor down
	f.Fail(err)
}
