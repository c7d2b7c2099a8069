package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// errDrained ends an accept loop whose plane drains.
var errDrained = errors.New("drained")

// Bounds of the goodbye to connections for which there is no room.
const (
	maxGoodbyes = 16
	goodbyeWait = 250 * time.Millisecond
)

// listener bounds what it accepts and can stop so that nobody who was let in is
// turned away.
type listener struct {
	net.Listener
	set      *connSet
	onAccept func(*conn)
	onFull   func()
	goodbye  func() []byte // what is said to who finds no room
	draining atomic.Bool
	settling bool           // the accept loop's own: it was woken by drain
	goodbyes chan struct{}  // slots
	pending  sync.WaitGroup // goodbyes; waited for when the accept loop has ended
}

func newListener(l net.Listener, set *connSet, onAccept func(*conn), goodbye func() []byte, onFull func()) *listener {
	return &listener{Listener: l, set: set, onAccept: onAccept, onFull: onFull, goodbye: goodbye, goodbyes: make(chan struct{}, maxGoodbyes)}
}

// Accept returns the next connection for which there is room. It is called by
// one goroutine, the accept loop.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
		case !l.draining.Load() || !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case l.settling: // time is up, but who is in is in
			if nc = acceptWaiting(l.Listener); nc == nil {
				return nil, errDrained
			}
		default: // woken by drain: take what waits in the backlog, then stop
			l.settling = true
			if err := l.setDeadline(l.set.now().Add(drainSettle)); err != nil {
				return nil, err
			}
			continue
		}
		c, ok := l.set.add(nc)
		if !ok {
			l.turnAway(nc)
			continue
		}
		l.onAccept(c)
		return c, nil
	}
}

// drain makes Accept return errDrained once the backlog is empty.
func (l *listener) drain() {
	refuseHandshakes(l.Listener)
	l.draining.Store(true)
	if err := l.setDeadline(time.Unix(1, 0)); err != nil {
		_ = l.Listener.Close() // no gentler way
	}
}

func (l *listener) setDeadline(t time.Time) error {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return d.SetDeadline(t)
}

// turnAway says why and closes, gently if few are being turned away.
func (l *listener) turnAway(nc net.Conn) {
	l.onFull()
	if l.set.tls != nil { // nothing can be said before a handshake
		_ = nc.Close()
		return
	}
	_ = nc.SetDeadline(l.set.now().Add(goodbyeWait))
	if _, err := nc.Write(l.goodbye()); err != nil {
		_ = nc.Close()
		return
	}
	select {
	case l.goodbyes <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	l.pending.Go(func() {
		defer func() { <-l.goodbyes }()
		defer nc.Close()
		if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, nc, sliceBytes) // so that the answer is not lost in a reset
		}
	})
}

// noRoom is the answer to a connection while every other one is being served.
func noRoom(now time.Time) []byte {
	id := newULID(now)
	p, _ := problemOf(refuse(ErrOverload, "Every connection that limits.max_conns allows is busy. Wait for Retry-After, then connect again."), id)
	body, _ := json.Marshal(p) // strings and numbers: cannot fail
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nRetry-After: 1\r\nX-Corr-Id: %s\r\n"+
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s", TypeProblem, id, len(body), body)
}
