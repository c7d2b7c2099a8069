package httpapi

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// What a connection is doing, as far as making room is concerned.
const (
	connQuiet   int32 = iota // no byte of a request yet
	connBegun                // part of a request's header
	connBody                 // waiting for a body
	connWorking              // a whole request is being answered
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

// Write sends p in slices, each under a deadline of its own.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		end := min(n+sliceBytes, len(p))
		if err = c.Conn.SetWriteDeadline(c.set.now().Add(c.set.timeout)); err != nil {
			return n, err
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
