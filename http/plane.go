package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"

	"micronode/http/oap"
)

// headerSlop is what net/http reads beyond MaxHeaderBytes before it refuses.
const headerSlop = 4096

// plane is one listener with its own server, connections and accept loop.
type plane struct {
	name string
	face *face
	http *http.Server // nil: the plane speaks OAP
	oap  *oap.Server
	base context.Context // of every request
	set  *connSet
	bind func(context.Context) (net.Listener, error) // for the first time, or again after it died
	peer func(*conn)                                 // marks connections as they are accepted

	cancel context.CancelFunc // ends the context of every request

	// Guarded by Door.mu.
	ln     *listener     // nil: not bound
	loop   chan struct{} // closed when the accept loop has ended; nil: none runs
	ending bool          // the end of the loop is wanted
	cut    bool          // what was left was cut
	socket *socketFile   // of the operator plane
	addr   Listener
}

// newPlane sets a server up with every bound set (contract §6).
func newPlane(name string, s *server, maxConns int) *plane {
	base, cancel := context.WithCancel(context.Background())
	ending, end := context.WithCancel(base)
	p := &plane{
		cancel: cancel, base: base,
		name: name, face: &face{server: s, plane: name, ending: ending, end: end}, peer: func(*conn) {},
		set: newConnSet(maxConns, s.limits().RequestTimeout, s.ports.Now),
	}
	p.set.plain = p.face.plain
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	p.http = &http.Server{
		HTTP2:   s.http2(),
		Handler: p.face, Protocols: &protocols, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: s.limits().HeaderTimeout,
		IdleTimeout:       s.limits().IdleTimeout,
		MaxHeaderBytes:    max(1, s.limits().MaxHeaderBytes-headerSlop),
		ConnState:         onState, ConnContext: withConn,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    log.New(lineHook{s.ports.Observe.Log}, "", 0),
	}
	return p
}

// lineHook hands net/http's own complaints to the observer.
type lineHook struct{ hook func(string) }

// Write implements io.Writer.
func (l lineHook) Write(p []byte) (int, error) {
	if l.hook != nil {
		l.hook(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

// listen takes a bound socket. Door.mu is held.
func (p *plane) listen(l net.Listener) {
	if s, ok := l.(*socketFile); ok {
		p.socket, l = s, s.Listener
	}
	p.face.loopback.Store(isLoopback(l.Addr()))
	if p.http != nil && p.name == planeData && (p.face.loopback.Load() || p.set.tls != nil) && !p.http.Protocols.UnencryptedHTTP2() {
		p.http.Protocols.SetUnencryptedHTTP2(true) // by prior knowledge; elsewhere HTTP/2 comes with TLS
	}
	p.addr = Listener{Plane: p.name, Network: l.Addr().Network(), Address: l.Addr().String()}
	goodbye := func() []byte { return noRoom(p.set.now()) }
	if p.oap != nil {
		goodbye = p.face.goodbyeOAP
	}
	p.ln = newListener(l, p.set, p.peer, goodbye, func() {
		if rejected := p.face.ports.Observe.Rejected; rejected != nil {
			rejected("503")
		}
	})
}

// serve runs the accept loop to its end. A panic in it is an error like others.
func (p *plane) serve(ln *listener) (err error) {
	defer func() {
		if v := recover(); v != nil {
			_ = ln.Close()
			err = fmt.Errorf("accept loop panicked: %v", v)
		}
		ln.pending.Wait() // goodbyes are short
	}()
	if p.oap != nil {
		err = p.serveOAP(ln)
	} else {
		err = p.http.Serve(ln)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, errDrained) {
		return nil
	}
	return err
}
