package oap

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"micronode/http/inflate"
)

// Limits of sessions. A zero field means its default.
type Limits struct {
	Inflight     int           // exchanges open on a connection, 64
	StreamTotal  time.Duration // of an exchange in all, 30 s
	StreamIdle   time.Duration // between two frames of a request, 10 s
	StreamFrames int           // of a request, 4096
	FrameTimeout time.Duration // for the rest of a frame that has begun, 5 s
	IdleTimeout  time.Duration // of a connection without exchanges, 60 s
	WriteTimeout time.Duration // of one frame, 5 s
	Ratio        int           // of COMP, 10
	InflateMax   int64         // of COMP, 8 MiB
}

func (l Limits) withDefaults() Limits {
	set := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	number := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	number(&l.Inflight, MaxInflight)
	number(&l.StreamFrames, 4096)
	number(&l.Ratio, 10)
	set(&l.StreamTotal, 30*time.Second)
	set(&l.StreamIdle, 10*time.Second)
	set(&l.FrameTimeout, 5*time.Second)
	set(&l.IdleTimeout, time.Minute)
	set(&l.WriteTimeout, 5*time.Second)
	if l.InflateMax == 0 {
		l.InflateMax = 8 << 20
	}
	return l
}

// Options configure a Server. Handle, Hello and Fault are required.
type Options struct {
	// Handle answers one exchange, on a goroutine of its own, and ends it. ctx ends
	// with the exchange's time, or with the connection.
	Handle func(ctx context.Context, x *Exchange)
	Hello  func() []byte // payload of the reply to HELLO, JSON
	// Fault words an error for the ERROR frame that answers it, and counts it. err
	// is a [*Fault] or wraps inflate.ErrBusy.
	Fault func(err error, corr uint64) (code uint16, body []byte)
	Now   func() time.Time // deadlines of connections hang on it; nil: time.Now
	// State is told when handlers begin to work on a connection and when the last
	// has returned. It is called under a lock of the session and must not wait.
	State func(c net.Conn, working bool)
	// Limits is asked for each connection.
	Limits func() Limits
	Guard  *inflate.Guard // nil: one of its own
	// Memory counts bytes that requests make the node keep before a handler wants
	// them, beyond little, up to MemoryMax. nil: a count of its own, 64 MiB.
	Memory    *atomic.Int64
	MemoryMax int64
}

// Server runs sessions on connections that others accept.
type Server struct{ o Options }

// NewServer makes a server.
func NewServer(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.State == nil {
		o.State = func(net.Conn, bool) {}
	}
	if o.Limits == nil {
		o.Limits = func() Limits { return Limits{} }
	}
	if o.Memory == nil {
		o.Memory, o.MemoryMax = new(atomic.Int64), 64<<20
	}
	if o.Guard == nil {
		o.Guard = inflate.NewGuard()
	}
	return &Server{o}
}

// ServeConn serves one connection to its end, closes it and returns when every
// handler has.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) {
	l := s.o.Limits().withDefaults()
	ctx, cancel := context.WithCancelCause(ctx)
	ss := &session{
		o: &s.o, limits: l, conn: c, ctx: ctx, cancel: cancel, open: map[uint64]*Exchange{},
		turn: make(chan struct{}, 1), places: make(chan struct{}, 2*l.Inflight), rested: make(chan struct{}, 1), quiet: s.o.Now(),
		dec: Decoder{Ratio: l.Ratio, InflateMax: l.InflateMax, Guard: s.o.Guard},
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	ss.run()
	cancel(errGone)
	ss.handlers.Wait()
	s.o.Memory.Add(-ss.buffer)
	_ = c.Close() // it may have been closed before
}
