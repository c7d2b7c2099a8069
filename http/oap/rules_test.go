package oap_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"micronode/http/oap"
)

// TestFaultNamesNoOther: a fault whose header cannot be read names no exchange,
// least of all the one before.
func TestFaultNamesNoOther(t *testing.T) {
	p := connect(t, t.Context(), newToy().options())
	p.alive() // corr_id 999
	p.raw([]byte{0, 0, 0, 0})
	p.want(answer, 413, 0, "FrameTooLarge")
	p.wantEnd()
}

// TestFaultAtOnce: a fault that the header shows is told when the header is there,
// in however many pieces it came.
func TestFaultAtOnce(t *testing.T) {
	bad := oap.AppendFrame(nil, &oap.Frame{Flags: 0x8001, Corr: 4, Payload: make([]byte, 1000)})
	for name, pieces := range map[string][][]byte{
		"length": {{255, 255}, {255, 255}},
		"flags":  {bad[:20], bad[20:38]},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := connect(t, t.Context(), newToy().options())
				began := time.Now()
				for _, b := range pieces {
					p.raw(b)
					synctest.Wait()
				}
				<-p.frames
				if waited := time.Since(began); waited != 0 {
					t.Errorf("told after %v", waited)
				}
			})
		})
	}
}

// TestOneFinalAnswer: a frame that breaks the rules of an open exchange ends it;
// frames of another application belong to the exchange that is open.
func TestOneFinalAnswer(t *testing.T) {
	for _, test := range []struct {
		name, want string
		code       uint16
		bad        oap.Frame
	}{
		{"resp", "NotARequest", 400, oap.Frame{Flags: oap.FlagResp, App: 7, Corr: 5}},
		{"app 0", "\x01", 200, oap.Frame{Flags: oap.FlagReq | end, App: 0, Corr: 5, Payload: []byte{1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			y := newToy()
			p := connect(t, t.Context(), y.options())
			p.send(start(5, `{"op":"echo"}`, 0), test.bad)
			if test.code == 400 {
				p.want(answer, test.code, 5, test.want)
				p.send(data(5, "", end)) // late
				if err := <-y.ended; err == nil {
					t.Error("the handler took the request for good")
				}
			} else {
				p.want(answer, test.code, 5, test.want)
			}
			p.alive()
		})
	}
}

// TestManyUnread: a client that takes no answers cannot make the session run ever
// more handlers.
func TestManyUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		here, there := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			oap.NewServer(y.options()).ServeConn(t.Context(), there)
		}()
		_ = here.SetWriteDeadline(time.Now().Add(time.Second))
		for corr := uint64(1); corr <= 5000; corr++ {
			f := start(corr, `{"op":"echo"}`, end)
			if _, err := here.Write(oap.AppendFrame(nil, &f)); err != nil {
				break
			}
		}
		if n := runtime.NumGoroutine(); n > 300 {
			t.Errorf("%d goroutines", n)
		}
		_ = here.Close()
		<-served
	})
}

// TestWorkingUntilAnswered: a connection is not quiet while its answer waits to be
// taken.
func TestWorkingUntilAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		here, there := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			oap.NewServer(y.options()).ServeConn(t.Context(), there)
		}()
		f := start(1, `{"op":"echo"}`, end)
		_, _ = here.Write(oap.AppendFrame(nil, &f))
		synctest.Wait() // the answer is not taken
		if len(y.state) != 1 {
			t.Error("quiet before the answer is out")
		}
		_ = here.Close()
		<-served
	})
}

// TestLateOnce: a second START of an open request is forgotten with its one END.
func TestLateOnce(t *testing.T) {
	p := connect(t, t.Context(), newToy().options())
	p.send(start(5, `{"op":"echo"}`, 0), start(5, `{"op":"echo"}`, 0))
	p.want(answer, 400, 5, "DuplicateStart")
	p.send(data(5, "", end), data(5, "x", 0))
	p.want(answer, 400, 5, "NoStart")
}

// TestAnswerFits: an answer longer than a frame is the handler's error, and it can
// still give another.
func TestAnswerFits(t *testing.T) {
	o := newToy().options()
	failed := make(chan error, 1)
	o.Handle = func(_ context.Context, x *oap.Exchange) {
		failed <- x.End(200, make([]byte, oap.MaxFrame))
		_ = x.End(500, []byte("too long"))
	}
	p := connect(t, t.Context(), o)
	p.send(start(1, "", end))
	p.want(answer, 500, 1, "too long")
	if <-failed == nil {
		t.Error("a frame beyond MaxFrame was sent")
	}
}

// TestIdleSinceAnswer: idle time counts from the last answer on.
func TestIdleSinceAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		p := connect(t, t.Context(), y.options())
		p.send(start(1, `{"op":"hold"}`, end))
		<-time.After(20 * time.Second)
		close(y.release)
		<-p.frames
		began := time.Now()
		p.wantEnd()
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("after %v, want a minute", waited)
		}
	})
}

// halves is a connection whose two directions end apart.
type halves struct {
	net.Conn // reads
	out      net.Conn
}

func (h halves) Write(p []byte) (int, error)         { return h.out.Write(p) }
func (h halves) SetWriteDeadline(at time.Time) error { return h.out.SetWriteDeadline(at) }

// SetReadDeadline takes a deadline after the peer's end too, as TCP does.
func (h halves) SetReadDeadline(at time.Time) error {
	_ = h.Conn.SetReadDeadline(at)
	return nil
}

func (h halves) Close() error {
	_ = h.out.Close()
	return h.Conn.Close()
}

// TestHalfClosed: a client that has said all it will still gets its answers, for a
// second; what was not whole is given up.
func TestHalfClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		request, in := net.Pipe()
		reply, out := net.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			oap.NewServer(y.options()).ServeConn(t.Context(), halves{in, out})
		}()
		for _, f := range []oap.Frame{start(1, `{"op":"hold"}`, end), start(2, `{"op":"put"}`, 0)} {
			_, _ = request.Write(oap.AppendFrame(nil, &f))
		}
		_ = request.Close()
		first := make([]byte, oap.HeaderBytes)
		if _, err := io.ReadFull(reply, first); err != nil || first[9] != 400&0xff {
			t.Fatalf("%x, %v", first, err)
		}
		if err := <-y.ended; err == nil {
			t.Error("half a request was taken for whole")
		}
		close(y.release)
		rest, err := io.ReadAll(reply)
		if err != nil || !bytes.HasSuffix(rest, []byte(`{"op":"hold"}`)) {
			t.Errorf("%q, %v", rest, err)
		}
		<-served
	})
}

// TestGoodbyeOverALot: the answer to a fault arrives though megabytes are under way.
func TestGoodbyeOverALot(t *testing.T) {
	here, there := tcp(t)
	defer here.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		oap.NewServer(newToy().options()).ServeConn(context.Background(), there)
	}()
	if _, err := here.Write(append([]byte{0, 32, 0, 0}, make([]byte, 3<<20)...)); err != nil {
		t.Fatal(err)
	}
	_ = here.(*net.TCPConn).CloseWrite()
	all, err := io.ReadAll(here)
	if err != nil || !bytes.HasSuffix(all, []byte("BadVersion")) && !bytes.HasSuffix(all, []byte("FrameTooLarge")) { // by how much came at once
		t.Errorf("%q, %v", all, err)
	}
	<-served
}
