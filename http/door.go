package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"micronode/http/admit"
)

// Door owns the listeners and all that is served on them. It outlives whoever
// runs it: Bind once, Open as often as one likes, Drain, Close.
type Door struct {
	server *server
	data   *plane
	client []*plane // those that a drain ends: data, OAP
	planes []*plane // in the order in which they close: data, OAP, operator, metrics last
	failed chan error
	loops  sync.WaitGroup
	tls    *keeper // nil: plain

	mu      sync.Mutex // guards closed, drained and the marked fields of planes
	closed  bool
	drained time.Time // when the drain began
}

// NewDoor checks the options and binds nothing.
func NewDoor(o Options) (*Door, error) {
	o.Limits = o.Limits.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	d := &Door{server: s}
	d.data = newPlane(planeData, s, o.Limits.MaxConns)
	d.data.bind = rebindTCP(o.HTTPAddr)
	d.client = append(d.client, d.data)
	if o.OAPAddr != "" {
		p := newOAPPlane(s, o.Limits.MaxConns)
		p.bind = rebindTCP(o.OAPAddr)
		d.client = append(d.client, p)
	}
	d.planes = append(d.planes, d.client...)
	if o.Socket.Path != "" {
		p := newPlane(planeOperator, s, operatorConns)
		p.peer = peerCheck(o.Socket.AllowUIDs)
		p.bind = func(ctx context.Context) (net.Listener, error) {
			return noTyped(bindSocket(ctx, o.Socket, d.dataPort()))
		}
		d.planes = append(d.planes, p)
	}
	if o.MetricsAddr != "" {
		p := newPlane(planeMetrics, s, metricsConns)
		p.bind = rebindTCP(o.MetricsAddr)
		d.planes = append(d.planes, p)
	}
	if len(o.TLS.Cert) > 0 {
		d.tls = &keeper{ports: &s.ports}
		if err := d.tls.use(o.TLS); err != nil {
			return nil, fmt.Errorf("httpapi: %w", err)
		}
		for _, p := range d.planes {
			if p.name != planeOperator {
				p.set.tls, p.set.plane = d.tls, p.name
			}
		}
		s.overTLS = true
	}
	d.failed = make(chan error, len(d.planes))
	return d, nil
}

// rebindTCP binds addr, and from then on the very address that it got: port 0
// is chosen once.
func rebindTCP(addr string) func(context.Context) (net.Listener, error) {
	return func(ctx context.Context) (net.Listener, error) {
		l, err := bindTCP(ctx, addr)
		if err == nil {
			addr = l.Addr().String()
		}
		return l, err
	}
}

// noTyped keeps a nil *socketFile from becoming a listener that is not nil.
func noTyped(s *socketFile, err error) (net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// errClosed says that a Door was used after Close.
var errClosed = errors.New("httpapi: the door is closed")

// Bind binds every listener that is not bound, all or none. Connections queue
// from now on and are answered from Open on. Errors wrap ErrBind. Bind and Open
// belong to one goroutine at a time.
func (d *Door) Bind(ctx context.Context) error {
	var bound []*plane
	for _, p := range d.planes {
		d.mu.Lock()
		closed, wanted := d.closed, p.ln == nil && !p.ending
		d.mu.Unlock()
		if closed {
			return errClosed
		}
		if !wanted {
			continue
		}
		l, err := p.bind(ctx)
		if err != nil {
			for _, p := range bound {
				d.unbind(p)
			}
			return err
		}
		d.mu.Lock()
		p.listen(l)
		d.mu.Unlock()
		bound = append(bound, p)
	}
	return nil
}

// unbind gives a socket back that has no accept loop.
func (d *Door) unbind(p *plane) {
	d.mu.Lock()
	ln, socket := p.ln, p.socket
	if p.loop == nil {
		p.ln = nil
	}
	idle := p.loop == nil && ln != nil
	d.mu.Unlock()
	if !idle {
		return
	}
	_ = ln.Close()
	if socket != nil {
		_ = socket.remove() // a name left behind is found stale next time
	}
}

// dataPort is the port of the data plane, which is bound first.
func (d *Door) dataPort() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, port, _ := net.SplitHostPort(d.data.addr.Address)
	return port
}

// Open sees to it that each listener accepts: one that died is bound again, and
// its death is told by Failed no more. Calling it on an open door changes nothing.
func (d *Door) Open() error {
	d.forgetFailed()
	if err := d.Bind(context.Background()); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	for _, p := range d.planes {
		if p.ln != nil && p.loop == nil && !p.ending {
			d.accept(p)
		}
	}
	return nil
}

// accept starts a plane's loop; mu is held.
func (d *Door) accept(p *plane) {
	ln, done := p.ln, make(chan struct{})
	p.loop = done
	d.loops.Go(func() {
		defer close(done)
		err := p.serve(ln)
		d.mu.Lock()
		defer d.mu.Unlock()
		p.ln, p.loop = nil, nil
		if !p.ending && !d.closed {
			d.fail(fmt.Errorf("%s listener on %s ended: %w", p.name, ln.Addr(), cmp.Or(err, net.ErrClosed)))
		}
	})
}

// forgetFailed takes back what was told of listeners that are bound anew now:
// two that died together are one failure.
func (d *Door) forgetFailed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range len(d.failed) {
		select {
		case <-d.failed:
		default: // somebody else has it
		}
	}
}

// fail is called with mu held: who finds a listener gone finds it told.
func (d *Door) fail(err error) {
	select {
	case d.failed <- err:
	default: // as many as there are planes wait already
	}
}

// Failed delivers when an accept loop ends that nobody ended. Open mends it.
func (d *Door) Failed() <-chan error { return d.failed }

// Listeners returns what is bound, with the ports and paths that were really got.
func (d *Door) Listeners() []Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []Listener
	for _, p := range d.planes {
		if p.ln != nil {
			all = append(all, p.addr)
		}
	}
	return all
}

// Inflight is how many requests are being answered now, on all planes; what waits
// for a message is not among them.
func (d *Door) Inflight() int64 { return d.server.inflight.Load() }

// InflightByRoute calls f with each route's pattern and how many of its
// requests are being answered now. The patterns are a bounded set.
func (d *Door) InflightByRoute(f func(route string, n int64)) {
	for _, rt := range d.server.table.all {
		f(rt.pattern, rt.inflight.Load())
	}
}

// Conns is how many connections are open now, on all planes.
func (d *Door) Conns() int64 {
	var n int64
	for _, p := range d.planes {
		n += int64(p.set.len())
	}
	return n
}

// Configure puts other limits and other shares into force, for what begins from
// now on: rates, slots, lines and weights, sizes of bodies, the number of
// connections and the request timeout. Header and idle timeouts and the size of
// headers stay as they were at the start. On an error nothing changes.
func (d *Door) Configure(l Limits, f Fairness) error {
	sharing, err := newFlows(f)
	if err != nil {
		return err
	}
	l = l.withDefaults()
	s := d.server
	s.flows.Store(sharing)
	s.inForce.Store(&l)
	s.data.Configure(l.gate())
	for _, p := range d.client {
		p.set.configure(l.MaxConns)
	}
	for _, p := range d.planes {
		p.set.timeout.Store(int64(l.RequestTimeout))
	}
	return nil
}

// Admission is how the data plane's requests stand in line.
func (d *Door) Admission() admit.Stats { return d.server.data.Stats() }

// UseTLS puts other certificates into force for handshakes from now on;
// connections go on. On an error nothing changes. Without TLS at the start it is
// an error: listeners do not change what they speak.
func (d *Door) UseTLS(t TLSFiles) error {
	if d.tls == nil {
		return errors.New("httpapi: TLS begins with a restart")
	}
	return d.tls.use(t)
}

// RotateTickets gives session tickets a new key, the first; the others are those
// that are still taken.
func (d *Door) RotateTickets(keys [][32]byte) {
	if d.tls != nil {
		d.tls.rotateTickets(keys)
	}
}
