package httpapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"micronode/http/policy"
)

// What a connection is doing, as far as making room is concerned.
const (
	connQuiet   int32 = iota // no byte of a request yet
	connBegun                // part of a request's header
	connBody                 // waiting for a body
	connWorking              // a whole request is being answered
	connParked               // its poll or stream waits for a message
)

// conn is an accepted connection. Each write of up to 64 KiB has its own
// deadline, so that whoever stops reading is dropped, whatever is being sent.
type conn struct {
	net.Conn
	set      *connSet
	uid      int  // of the peer of the operator socket, else -1
	foreign  bool // a uid that the operator socket does not serve
	state    atomic.Int32
	since    atomic.Int64 // unix ns: since when it waits without a complete request
	haste    atomic.Int64 // ns that a write may take; 0: the set's timeout
	writing  atomic.Int64 // unix ns: since when a write is under way; 0: none is
	busy     atomic.Int32 // HTTP/2: requests at work
	framing  framing      // of what is read
	flow     flowMemo
	tls      *tls.Conn                      // nil: plain
	raw      net.Conn                       // below tls
	shaken   bool                           // the handshake was tried; of the goroutine that serves
	peerName atomic.Pointer[string]         // subject of the client's certificate
	origin   atomic.Pointer[policy.Context] // of requests that come straight from the peer

	begun int64 // HTTP/1: requests that reached the handler, one after the other

	mu   sync.Mutex // guards then
	then []func()   // when the answer under way is out
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// waits reports whether the connection waits without a complete request.
func (c *conn) waits() bool {
	state := c.state.Load()
	return state != connWorking && state != connParked
}

// become moves the connection to a state; waiting begins anew except from quiet to begun.
func (c *conn) become(state int32) {
	if state != connBegun {
		c.since.Store(c.set.now().UnixNano())
	}
	c.state.Store(state)
}

// Read lets framing see what the client sends.
func (c *conn) Read(p []byte) (int, error) {
	if c.tls != nil && !c.shaken {
		c.shaken = true
		if err := c.handshake(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p)
	c.framing.feed(p[:n])
	return n, err
}

// trusted is called once for each request: it reports whether its framing, and
// that of all before it, has one meaning.
func (c *conn) trusted() bool {
	if c.framing.h2.Load() {
		return true
	}
	c.begun++
	fault := c.framing.fault.Load()
	return fault == 0 || c.begun < fault
}

// hurry bounds every write from now on, that under way among them: who does not
// read in this time is left.
func (c *conn) hurry(write time.Duration) {
	write = max(write, 1)
	c.haste.Store(int64(write))
	_ = c.Conn.SetWriteDeadline(c.set.now().Add(write)) // a broken connection shows at the next write
}

// afterAnswer calls f when the answer under way is written to its end, which is
// after the handler has returned. It is for handlers.
func (c *conn) afterAnswer(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.then = append(c.then, f)
}

func (c *conn) answered() {
	c.mu.Lock()
	all := c.then
	c.then = nil
	c.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// Write sends p in slices, each under a deadline of its own. A refusal of net/http's
// own is put into the door's words.
func (c *conn) Write(p []byte) (n int, err error) {
	if status, said, ok := c.ownRefusal(p); ok {
		if _, err := c.send(c.set.plain(status, said, c)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.send(p)
}

func (c *conn) send(p []byte) (n int, err error) {
	c.writing.Store(c.set.now().UnixNano())
	defer c.writing.Store(0)
	for {
		end := min(n+sliceBytes, len(p))
		if err = c.Conn.SetWriteDeadline(c.set.now().Add(c.set.patience())); err != nil {
			return n, err
		}
		if haste := c.haste.Load(); haste != 0 { // looked at after the deadline is set: hurry may come between
			_ = c.Conn.SetWriteDeadline(c.set.now().Add(time.Duration(haste))) // as there
		}
		m, err := c.Conn.Write(p[n:end])
		n += m
		if err != nil || n >= len(p) {
			return n, err
		}
	}
}

// Close takes the connection out of its set.
func (c *conn) Close() error {
	c.set.remove(c)
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer so that the client can read it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// onState follows net/http's view of the connection. Working begins with the
// handler, not here: StateActive is the first byte of a header.
func onState(nc net.Conn, s http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch s {
	case http.StateActive:
		c.become(connBegun)
	case http.StateIdle:
		c.answered()
		c.become(connQuiet)
		c.set.changed()
	case http.StateNew:
		c.set.serving(+1)
	case http.StateClosed:
		c.answered()
		c.set.remove(c)
		c.set.serving(-1)
	case http.StateHijacked: // no handler of ours does that
	}
}
