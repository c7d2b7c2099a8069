package httpapi

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Drain ends the data plane so that nothing begun is cut and nobody who was let
// in is turned away: from the call on every answer is the last on its
// connection, tails end, connections that wait in the backlog are served, the
// socket closes, and quiet connections are closed once they idled for half a
// second. The operator socket and metrics go on until Close. It returns when the
// last connection is gone; when ctx ends before, it cuts what is left and returns
// ctx's error and how many requests that were. Who calls it has said "not ready"
// before.
func (d *Door) Drain(ctx context.Context) (cut int64, err error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return 0, errClosed
	}
	var lns []*listener // to be drained, by the first call
	if d.drained.IsZero() {
		d.drained = d.server.ports.Now()
		for _, p := range d.client {
			if ln := d.beginDrain(p); ln != nil {
				lns = append(lns, ln)
			}
		}
	}
	began := d.drained
	loops := make([]chan struct{}, len(d.client))
	for i, p := range d.client {
		loops[i] = p.loop
	}
	d.mu.Unlock()
	for _, ln := range lns {
		ln.drain()
	}
	for i, p := range d.client {
		if fault := p.drained(ctx, loops[i], began); fault != nil {
			cut += d.cut(p)
			err = cmp.Or(err, fault)
		}
	}
	return cut, err
}

// beginDrain is called with mu held; it returns the listener that is to be drained.
func (d *Door) beginDrain(p *plane) *listener {
	p.face.draining.Store(true)
	d.server.tails.end(p.name, tailSettle)
	d.server.streams.end(p.name, tailSettle)
	p.face.end()
	p.ending = true
	if p.ln != nil && p.loop == nil {
		d.accept(p) // for the backlog
	}
	return p.ln
}

// drained waits for the accept loop and the last connection.
func (p *plane) drained(ctx context.Context, loop <-chan struct{}, began time.Time) error {
	if loop != nil {
		select {
		case <-loop:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.set.quiesce(ctx, began)
}

// Close cuts what is left and waits for it: data first, metrics last. It returns
// how many requests were cut, and an error when a handler does not end. ctx bounds
// the wait for all planes together; handlers have at least closeLeast to notice.
// A closed door stays closed; closing it again changes nothing.
func (d *Door) Close(ctx context.Context) (aborted int64, err error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return 0, nil
	}
	d.closed = true
	d.mu.Unlock()
	defer d.server.data.Close()
	d.settle(ctx)
	for _, p := range d.planes {
		aborted += d.cut(p)
	}
	wait := closeWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	} else if ctx.Err() != nil {
		wait = 0
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(wait, closeLeast))
	defer cancel()
	for _, p := range d.planes {
		err = errors.Join(err, d.awaitPlane(ctx, p))
	}
	d.loops.Wait()
	return aborted, err
}

// settle lets tails show the last events, and orders be answered: the last of
// them is what ends the node. Tails that take longer are not counted as cut.
func (d *Door) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tailSettle)
	defer cancel()
	names := make([]string, len(d.planes))
	for i, p := range d.planes {
		names[i] = p.name
	}
	for _, p := range d.planes {
		p.face.end()
		d.server.streams.end(p.name, tailSettle)
	}
	d.server.polls.wait(ctx)
	d.server.streams.settle(ctx, names...)
	if !d.server.tails.settle(ctx, names...) {
		for _, name := range names {
			d.server.tails.end(name, 0)
		}
	}
	d.server.ordered.wait(ctx)
}

// cut ends all that goes on at a plane, once, and returns how many requests
// lost their answer by it.
func (d *Door) cut(p *plane) (requests int64) {
	d.mu.Lock()
	first := !p.cut
	p.cut, p.ending = true, true
	ln := p.ln
	d.mu.Unlock()
	if first {
		requests = p.face.owed.Load()
	}
	p.cancel()
	switch { // errors are those of sockets that are closed already
	case p.http != nil:
		_ = p.http.Close()
	case ln != nil:
		_ = ln.Close()
	}
	p.set.closeAll()
	d.unbind(p)
	return requests
}

// awaitPlane waits for what was cut.
func (d *Door) awaitPlane(ctx context.Context, p *plane) error {
	d.mu.Lock()
	loop, socket := p.loop, p.socket
	d.mu.Unlock()
	if loop != nil {
		<-loop
	}
	err := p.set.waitServed(ctx)
	if socket != nil {
		err = errors.Join(err, socket.remove())
	}
	return err
}
