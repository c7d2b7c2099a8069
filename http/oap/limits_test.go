package oap_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"micronode/http/oap"
)

// In these tests time is that of a bubble: it stands still while anybody works.

// TestStreamIdle: a request that stops coming is answered 408 after 10 s, and the
// connection lives on.
func TestStreamIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		p := connect(t, t.Context(), y.options())
		began := time.Now()
		p.send(start(1, `{"op":"put"}`, 0))
		<-time.After(9 * time.Second)
		p.send(data(1, "a", 0))
		p.want(answer, 408, 1, "too late")
		if waited := time.Since(began); waited != 19*time.Second {
			t.Errorf("after %v, want 19 s", waited)
		}
		if err := <-y.ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		p.alive()
	})
}

// TestStreamTotal: neither does a request last for ever that never stops.
func TestStreamTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		p := connect(t, t.Context(), y.options())
		p.send(start(1, `{"op":"put"}`, 0), start(2, `{"op":"hold"}`, end))
		for range 5 {
			<-time.After(5900 * time.Millisecond)
			p.send(data(1, "a", 0))
		}
		began := time.Now()
		for range 2 {
			if f := <-p.frames; f.Code != 408 || f.Flags != answer {
				t.Fatalf("%+v", f)
			}
		}
		if waited := time.Since(began); waited != 500*time.Millisecond {
			t.Errorf("%v beyond 29.5 s, want 30 s in all", waited)
		}
		p.alive()
	})
}

// TestSlowFrame: a frame that has begun is whole within 5 s, however it trickles.
func TestSlowFrame(t *testing.T) {
	whole := oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagStart, App: 7, Corr: 6, Payload: []byte("payload")})
	for name, test := range map[string]struct {
		bytes int // that come, one a second
		first int // at once
	}{
		"one byte": {0, 1}, "half a header": {0, 20}, "header": {0, 38}, "trickle in the header": {30, 1}, "trickle in the body": {6, 39},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, t.Context(), newToy().options())
				began := time.Now()
				p.raw(whole[:test.first])
				for i := range min(test.bytes, 4) {
					<-time.After(time.Second)
					p.raw(whole[test.first+i : test.first+i+1])
				}
				f, ok := <-p.frames
				if !ok || f.Code != 408 || f.Flags != answer || string(f.Payload) != "FrameTimeout" {
					t.Fatalf("%v %+v", ok, f)
				}
				if waited := time.Since(began); waited != 5*time.Second {
					t.Errorf("after %v, want 5 s", waited)
				}
				p.wantEnd()
			})
		})
	}
}

// TestIdle: a connection without exchanges ends after a minute, one with does not.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		p := connect(t, t.Context(), y.options())
		p.alive()
		began := time.Now()
		p.wantEnd()
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("after %v, want a minute", waited)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		o := newToy().options()
		o.Limits = func() oap.Limits { return oap.Limits{IdleTimeout: 5 * time.Second} }
		p := connect(t, t.Context(), o)
		p.send(start(1, `{"op":"hold"}`, end))
		p.want(answer, 408, 1, "too late") // after 30 s
		p.wantEnd()
	})
}

// TestSlowReader: who takes no answer for 5 s is cut off.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		here, there := net.Pipe()
		served := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(served)
			oap.NewServer(y.options()).ServeConn(t.Context(), there)
		}()
		f := start(1, `{"op":"get","len":70000}`, end)
		if _, err := here.Write(oap.AppendFrame(nil, &f)); err != nil {
			t.Fatal(err)
		}
		<-served
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("after %v, want 5 s", waited)
		}
		if err := <-y.ended; err == nil {
			t.Error("a write that nobody took succeeded")
		}
		_ = here.Close()
	})
}

// TestBackpressure: while a handler takes nothing, no more than a few frames are
// read, whatever comes.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		here, there := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() {
			defer close(served)
			oap.NewServer(y.options()).ServeConn(ctx, there)
		}()
		sent := 0
		f := start(1, `{"op":"hold"}`, 0)
		wire := oap.AppendFrame(nil, &f)
		d := data(1, string(make([]byte, 65_536)), 0)
		_ = here.SetWriteDeadline(time.Now().Add(time.Second))
		for {
			if _, err := here.Write(wire); err != nil {
				break
			}
			wire = oap.AppendFrame(nil, &d)
			sent++
		}
		if sent > 6 {
			t.Errorf("%d frames were taken that nobody reads", sent)
		}
		cancel()
		<-served
		_ = here.Close()
	})
}

// tcp is one connected pair, since a pipe has no half to close.
func tcp(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// TestGoodbyeIsRead: over TCP, the answer to a fault of framing arrives, though
// bytes are behind the fault that nobody reads.
func TestGoodbyeIsRead(t *testing.T) {
	here, there := tcp(t)
	defer here.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		oap.NewServer(newToy().options()).ServeConn(context.Background(), there)
	}()
	junk := append([]byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte("x"), 8_000)...)
	if _, err := here.Write(junk); err != nil {
		t.Fatal(err)
	}
	if err := here.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(here)
	if err != nil || !bytes.HasSuffix(all, []byte("BadFlags")) {
		t.Errorf("%q, %v", all, err)
	}
	<-served
}
