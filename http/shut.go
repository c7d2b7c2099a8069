package httpapi

import (
	"context"
	"errors"
)

// Drain ends the data plane so that nothing begun is cut and nobody who was let
// in is turned away: from the call on every answer is the last on its
// connection, tails end, connections that wait in the backlog are served, the
// socket closes, and quiet connections are closed once they idled for half a
// second. The operator socket and metrics go on until Close. It returns when the
// last connection is gone, or with the error of ctx while some are left. Who
// calls it has said "not ready" before.
func (d *Door) Drain(ctx context.Context) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return errClosed
	}
	p := d.data
	var ln *listener // to be drained, by the first call
	if d.drained.IsZero() {
		d.drained = d.server.ports.Now()
		p.face.draining.Store(true)
		d.server.tails.end(planeData)
		p.ending = true
		if ln = p.ln; ln != nil && p.loop == nil {
			d.accept(p) // for the backlog
		}
	}
	began, loop := d.drained, p.loop
	d.mu.Unlock()
	if ln != nil {
		ln.drain()
	}
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
// how many requests were cut, and an error when a handler does not end. A closed
// door stays closed; closing it again changes nothing.
func (d *Door) Close() (aborted int64, err error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return 0, nil
	}
	d.closed = true
	d.mu.Unlock()
	d.settle()
	aborted = d.server.inflight.Load()
	d.cancel()
	for _, p := range d.planes {
		err = errors.Join(err, d.closePlane(p))
	}
	d.loops.Wait()
	return aborted, err
}

// settle lets tails show the last events, and orders be answered: the last of
// them is what ends the node. They are not counted as cut.
func (d *Door) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), tailSettle)
	defer cancel()
	names := make([]string, len(d.planes))
	for i, p := range d.planes {
		names[i] = p.name
	}
	d.server.tails.settle(ctx, names...)
	d.server.ordered.wait(ctx)
}

func (d *Door) closePlane(p *plane) error {
	_ = p.http.Close() // its errors are those of sockets that are closed already
	p.set.closeAll()
	d.mu.Lock()
	p.ending = true
	loop, socket := p.loop, p.socket
	d.mu.Unlock()
	d.unbind(p)
	if loop != nil {
		<-loop
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	err := p.set.waitServed(ctx)
	if socket != nil {
		err = errors.Join(err, socket.remove())
	}
	return err
}
