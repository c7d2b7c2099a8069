package oap_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"micronode/http/inflate"
	"micronode/http/oap"
)

// toy answers exchanges by the first word of their verb.
type toy struct {
	release chan struct{} // closed: "hold" ends
	began   chan uint64   // corr_id of each exchange; never full
	ended   chan error    // what "read" and "hold" ended with; never full
	state   chan bool     // what State was told; never full
	faults  chan *oap.Fault
}

func newToy() *toy {
	return &toy{
		release: make(chan struct{}), began: make(chan uint64, 10_000), ended: make(chan error, 10_000),
		state: make(chan bool, 10_000), faults: make(chan *oap.Fault, 100_000),
	}
}

func (y *toy) options() oap.Options {
	return oap.Options{
		Handle: y.handle, Now: time.Now, Hello: func() []byte { return []byte(`{"max_frame":1048576,"versions":[1]}`) },
		Fault: func(err error, _ uint64) (uint16, []byte) {
			var f *oap.Fault
			if !errors.As(err, &f) {
				return 503, []byte(err.Error())
			}
			y.faults <- f
			return f.Code, []byte(f.Name)
		},
		State: func(_ net.Conn, working bool) { y.state <- working },
	}
}

func (y *toy) handle(ctx context.Context, x *oap.Exchange) {
	y.began <- x.Corr()
	var v struct {
		Op  string
		Len int
	}
	if x.App() != 7 && x.App() != oap.AppObjects {
		_ = x.End(501, []byte("no such app"))
		return
	}
	if err := json.Unmarshal(x.Verb(), &v); err != nil {
		_ = x.End(400, []byte("bad verb"))
		return
	}
	switch v.Op {
	case "put": // the length of what came
		n, err := io.Copy(io.Discard, x)
		y.finish(x, err, stored("b3:put", n))
	case "echo":
		b, err := io.ReadAll(x)
		y.finish(x, err, b)
	case "cap":
		_ = x.End(200, x.Cap())
	case "head":
		_ = x.End(200, stored("b3:head", 9))
	case "has":
		_ = x.End(200, []byte(`{"has":true}`))
	case "get": // as many bytes as were asked for
		_ = x.Start([]byte(`{"address":"b3:get","size":` + number(v.Len) + `,"offset":0,"length":` + number(v.Len) + `}`))
		_, err := x.Write(make([]byte, v.Len))
		y.ended <- err
		_ = x.End(200, nil)
	case "short": // fewer than announced
		_ = x.Start([]byte(`{"address":"b3:get","size":10,"offset":0,"length":10}`))
		_, _ = x.Write(make([]byte, 5))
		_ = x.End(200, nil)
	case "damage": // found on the way
		_ = x.Start([]byte(`{"address":"b3:get","size":10,"offset":0,"length":10}`))
		_, _ = x.Write(make([]byte, 5))
		_ = x.End(502, []byte("damaged"))
	case "hold":
		select {
		case <-y.release:
		case <-ctx.Done():
		}
		y.finish(x, ctx.Err(), x.Verb())
	case "early":
		_ = x.End(413, []byte("enough"))
	case "twice":
		_ = x.End(200, []byte("one"))
		y.ended <- x.End(200, []byte("two"))
	case "panic":
		panic("on request")
	case "silent":
	default:
		_ = x.End(400, []byte("no such op"))
	}
}

// finish ends an exchange by what became of its request.
func (y *toy) finish(x *oap.Exchange, err error, body []byte) {
	y.ended <- err
	var f *oap.Fault
	switch {
	case err == nil:
		_ = x.End(200, body)
	case errors.As(err, &f):
		_ = x.End(f.Code, []byte(f.Name))
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		_ = x.End(408, []byte("too late"))
	default:
		_ = x.End(400, []byte(err.Error()))
	}
}

func stored(addr string, n int64) []byte {
	b, _ := json.Marshal(map[string]any{"address": addr, "size": n})
	return b
}

func number(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// peer is the other end of a session, frame by frame. It always reads.
type peer struct {
	t      testing.TB
	conn   net.Conn
	frames chan oap.Frame // closed with the connection
	served chan struct{}  // closed when ServeConn has returned
}

// connect serves one end of a pipe and speaks at the other.
func connect(t testing.TB, ctx context.Context, o oap.Options) *peer { //nolint:revive // t comes first in tests
	t.Helper()
	here, there := net.Pipe()
	p := &peer{t: t, conn: here, frames: make(chan oap.Frame, 20_000), served: make(chan struct{})}
	server := oap.NewServer(o)
	go func() {
		defer close(p.served)
		server.ServeConn(ctx, there)
	}()
	go func() {
		defer close(p.frames)
		dec := oap.Decoder{InflateMax: 8 << 20, Guard: inflate.NewGuard()}
		for {
			f, ok, err := dec.Next(context.Background())
			if err != nil {
				return
			}
			if ok {
				f.Payload = append([]byte(nil), f.Payload...)
				p.frames <- f
				continue
			}
			n, err := here.Read(dec.Room())
			dec.Filled(n)
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(p.close)
	return p
}

// close leaves, and waits for everybody.
func (p *peer) close() {
	_ = p.conn.Close()
	<-p.served
	for range p.frames { // until its reader has gone
	}
}

// raw sends bytes as they are.
func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("writing: %v", err)
	}
}

func (p *peer) send(frames ...oap.Frame) {
	p.t.Helper()
	for i := range frames {
		p.raw(oap.AppendFrame(nil, &frames[i]))
	}
}

// want waits for the next frame.
func (p *peer) want(flags, code uint16, corr uint64, body string) {
	p.t.Helper()
	f, ok := <-p.frames
	if !ok {
		p.t.Fatalf("the connection ended; want flags %#x, code %d, corr %d", flags, code, corr)
	}
	if f.Flags != flags || f.Code != code || f.Corr != corr || string(f.Payload) != body {
		p.t.Fatalf("flags %#x, code %d, corr %d, %.80q; want %#x, %d, %d, %.80q", f.Flags, f.Code, f.Corr, f.Payload, flags, code, corr, body)
	}
}

// wantEnd waits for the connection's end; nothing may come before.
func (p *peer) wantEnd() {
	p.t.Helper()
	if f, ok := <-p.frames; ok {
		p.t.Fatalf("got flags %#x, code %d, corr %d, %.80q; want the end", f.Flags, f.Code, f.Corr, f.Payload)
	}
	<-p.served
}

// alive makes a whole exchange.
func (p *peer) alive() {
	p.t.Helper()
	p.send(start(999, `{"op":"echo"}`, oap.FlagEnd))
	p.want(oap.FlagResp|oap.FlagEnd, 200, 999, "")
}

func start(corr uint64, verb string, more uint16) oap.Frame {
	return oap.Frame{Flags: oap.FlagReq | oap.FlagStart | more, App: 7, Corr: corr, Payload: []byte(verb)}
}

func data(corr uint64, payload string, more uint16) oap.Frame {
	return oap.Frame{Flags: oap.FlagReq | more, App: 7, Corr: corr, Payload: []byte(payload)}
}
