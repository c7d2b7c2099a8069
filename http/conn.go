package httpapi

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
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
	set     *connSet
	uid     int  // of the peer of the operator socket, else -1
	foreign bool // a uid that the operator socket does not serve
	state   atomic.Int32
	since   atomic.Int64 // unix ns: since when it waits without a complete request
	lastBy  atomic.Int64 // unix ns: no write waits longer; 0: each has its own deadline only
	framing framing      // of what is read
	begun   int64        // requests that reached the handler; its goroutine's own
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
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
	n, err := c.Conn.Read(p)
	c.framing.feed(p[:n])
	return n, err
}

// trusted is called once for each request: it reports whether its framing, and
// that of all before it, has one meaning.
func (c *conn) trusted() bool {
	c.begun++
	fault := c.framing.fault.Load()
	return fault == 0 || c.begun < fault
}

// hurry ends the patience with a client that does not read: what it has not
// taken by then it does not get.
func (c *conn) hurry(by time.Time) {
	c.lastBy.Store(by.UnixNano())
	_ = c.Conn.SetWriteDeadline(by) // a broken connection shows at the next write
}

// Write sends p in slices, each under a deadline of its own.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		end := min(n+sliceBytes, len(p))
		if err = c.Conn.SetWriteDeadline(c.set.now().Add(c.set.timeout)); err != nil {
			return n, err
		}
		if by := c.lastBy.Load(); by != 0 { // looked at after the deadline is set: hurry may come between
			_ = c.Conn.SetWriteDeadline(time.Unix(0, by)) // as hurry
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
		c.become(connQuiet)
		c.set.changed()
	case http.StateNew:
		c.set.serving(+1)
	case http.StateClosed:
		c.set.remove(c)
		c.set.serving(-1)
	case http.StateHijacked: // no handler of ours does that
	}
}
