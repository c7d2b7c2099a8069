package oap_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"micronode/http/inflate"
	"micronode/http/oap"
)

// house is a server on loopback.
type house struct {
	addr string
	stop func()
}

func listen(t testing.TB, serve func(ctx context.Context, c net.Conn)) house {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serve(ctx, c) })
		}
	})
	h := house{ln.Addr().String(), sync.OnceFunc(func() {
		_ = ln.Close()
		cancel()
		all.Wait()
	})}
	t.Cleanup(h.stop)
	return h
}

// dial connects a client to a toy.
func dial(t testing.TB, y *toy, o oap.ClientOptions) *oap.Client {
	t.Helper()
	return dialTo(t, listen(t, oap.NewServer(y.options()).ServeConn), o)
}

func dialTo(t testing.TB, h house, o oap.ClientOptions) *oap.Client {
	t.Helper()
	c, err := oap.Dial(t.Context(), h.addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestClient(t *testing.T) {
	ctx := t.Context()
	c := dial(t, newToy(), oap.ClientOptions{UA: "test/1"})
	hello, err := c.Hello(ctx)
	if err != nil || hello.MaxFrame != oap.MaxFrame {
		t.Errorf("%+v, %v", hello, err)
	}
	for _, size := range []int{0, 1, 65_535, 65_536, 65_537, 1 << 20, 3_000_000} {
		for _, known := range []int64{int64(size), -1} {
			s, err := c.Put(ctx, bytes.NewReader(make([]byte, size)), known, "b3:x")
			if err != nil || s.Size != int64(size) {
				t.Errorf("put of %d: %+v, %v", size, s, err)
			}
		}
	}
	if s, err := c.Head(ctx, "b3:x"); err != nil || s.Address != "b3:head" || s.Size != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	if has, err := c.Has(ctx, "b3:x"); err != nil || !has {
		t.Error(has, err)
	}
	for _, size := range []int{0, 1, 65_536, 200_000} {
		body, err := c.Call(ctx, 7, []byte(`{"op":"get","len":`+number(size)+`}`))
		if err != nil || !bytes.HasSuffix(body, make([]byte, size)) || body[0] != '{' {
			t.Errorf("call for %d: %d bytes, %v", size, len(body), err)
		}
	}
}

// script is a server that answers each START with the frames of an answer.
func script(t testing.TB, frames ...oap.Frame) house {
	return listen(t, func(ctx context.Context, conn net.Conn) {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		dec := oap.Decoder{InflateMax: 8 << 20, Guard: inflate.NewGuard()}
		for {
			f, ok, err := dec.Next(ctx)
			if err != nil {
				return
			}
			if ok && f.Flags&oap.FlagStart != 0 {
				for _, reply := range frames {
					reply.Corr = f.Corr
					_, _ = conn.Write(oap.AppendFrame(nil, &reply))
				}
			}
			if ok {
				continue
			}
			n, err := conn.Read(dec.Room())
			dec.Filled(n)
			if err != nil {
				return
			}
		}
	})
}

// TestGet: what comes is written; fewer or more bytes than announced, damage and a
// writer's failure are errors.
func TestGet(t *testing.T) {
	meta := oap.Frame{Flags: oap.FlagResp | oap.FlagStart, Code: 200, Payload: []byte(`{"address":"b3:get","size":20,"offset":5,"length":10}`)}
	part := oap.Frame{Flags: oap.FlagResp, Code: 200, Payload: []byte("01234")}
	last := oap.Frame{Flags: answer, Code: 200}
	for _, test := range []struct {
		name   string
		frames []oap.Frame
		want   string
		is     string // part of the error
	}{
		{"good", []oap.Frame{meta, part, part, last}, "0123401234", ""},
		{"short", []oap.Frame{meta, part, last}, "01234", "5 bytes are missing"},
		{"nothing", []oap.Frame{{Flags: oap.FlagResp | oap.FlagStart | end, Code: 200, Payload: meta.Payload}}, "", "10 bytes are missing"},
		{"long", []oap.Frame{meta, part, part, part, last}, "0123401234", "more bytes came"},
		{"damage", []oap.Frame{meta, part, {Flags: answer, Code: 502, Payload: []byte("damaged")}}, "01234", "answered 502: damaged"},
		{"refused", []oap.Frame{{Flags: answer, Code: 404, Payload: []byte("none")}}, "", "answered 404: none"},
		{"not JSON", []oap.Frame{{Flags: oap.FlagResp | oap.FlagStart, Code: 200, Payload: []byte("?")}, last}, "", "not what OAP/1 says"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialTo(t, script(t, test.frames...), oap.ClientOptions{})
			var out bytes.Buffer
			m, err := c.Get(t.Context(), "b3:get", 5, 10, &out)
			if out.String() != test.want || (err == nil) != (test.is == "") || err != nil && !strings.Contains(err.Error(), test.is) {
				t.Errorf("%q, %v", &out, err)
			}
			if err == nil && (m.Length != 10 || m.Offset != 5 || m.Size != 20) {
				t.Errorf("%+v", m)
			}
		})
	}
	t.Run("writer", func(t *testing.T) {
		c := dialTo(t, script(t, meta, part, part, last), oap.ClientOptions{})
		full := errors.New("disk full")
		if _, err := c.Get(t.Context(), "b3:get", 5, 10, iotestWriter{full}); !errors.Is(err, full) {
			t.Error(err)
		}
	})
}

type iotestWriter struct{ err error }

func (w iotestWriter) Write([]byte) (int, error) { return 0, w.err }

func TestClientErrors(t *testing.T) {
	ctx := t.Context()
	c := dial(t, newToy(), oap.ClientOptions{})
	var remote *oap.RemoteError
	if _, err := c.Call(ctx, 9, nil); !errors.As(err, &remote) || remote.Code != 501 || string(remote.Body) != "no such app" {
		t.Error(err)
	}
	special := errors.New("special")
	c = dial(t, newToy(), oap.ClientOptions{ErrorOf: func(code uint16, body []byte) error {
		if code == 501 && string(body) == "no such app" {
			return special
		}
		return nil
	}})
	if _, err := c.Call(ctx, 9, nil); !errors.Is(err, special) {
		t.Error(err)
	}
	if _, err := c.Call(ctx, 7, make([]byte, oap.MaxFrame)); err == nil {
		t.Error("a verb beyond a frame was sent")
	}
	if _, err := c.Call(ctx, 7, []byte(`{"op":"echo"}`)); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

// TestPutGivenUp: an upload whose reader fails is ended at the server, without an
// END that would make it whole, and the connection lives on.
func TestPutGivenUp(t *testing.T) {
	y := newToy()
	c := dial(t, y, oap.ClientOptions{})
	broken := errors.New("cannot read")
	body := io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(broken))
	if _, err := c.Put(t.Context(), body, -1, ""); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := <-y.ended; err == nil {
		t.Error("the server took the upload for whole")
	}
	if f := <-y.faults; f != oap.ErrDuplicateStart {
		t.Error(f)
	}
	if _, err := c.Has(t.Context(), "b3:x"); err != nil {
		t.Error(err)
	}
}

// TestCallGivenUp: so is a call whose context ends.
func TestCallGivenUp(t *testing.T) {
	y := newToy()
	c := dial(t, y, oap.ClientOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-y.began
		cancel()
	}()
	if _, err := c.Call(ctx, 7, []byte(`{"op":"hold"}`)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := <-y.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler ended with %v", err)
	}
}

// TestPutRefusedEarly: an answer that comes before the end of an upload counts.
func TestPutRefusedEarly(t *testing.T) {
	c := dialTo(t, script(t, oap.Frame{Flags: answer, Code: 429, Payload: []byte("full")}), oap.ClientOptions{})
	var remote *oap.RemoteError
	endless := io.LimitReader(zeros{}, 1<<30)
	if _, err := c.Put(t.Context(), endless, -1, ""); !errors.As(err, &remote) || remote.Code != 429 {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestClientInterleaves: many callers share a connection, more than may be open.
func TestClientInterleaves(t *testing.T) {
	c := dial(t, newToy(), oap.ClientOptions{})
	var all sync.WaitGroup
	for i := range 3 * oap.MaxInflight {
		all.Go(func() {
			size := 1000 * i
			if s, err := c.Put(t.Context(), bytes.NewReader(make([]byte, size)), -1, ""); err != nil || s.Size != int64(size) {
				t.Errorf("%d: %+v, %v", size, s, err)
			}
		})
	}
	all.Wait()
}

// TestConnectionLost: calls under way fail, and so do those that follow.
func TestConnectionLost(t *testing.T) {
	y := newToy()
	h := listen(t, oap.NewServer(y.options()).ServeConn)
	c := dialTo(t, h, oap.ClientOptions{})
	go func() {
		<-y.began
		h.stop()
	}()
	if _, err := c.Call(t.Context(), 7, []byte(`{"op":"hold"}`)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := c.Has(t.Context(), "b3:x"); err == nil {
		t.Error("a call on a lost connection succeeded")
	}
	c = dial(t, newToy(), oap.ClientOptions{})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Has(t.Context(), "b3:x"); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestDialRefused(t *testing.T) {
	h := listen(t, func(context.Context, net.Conn) {})
	h.stop()
	if _, err := oap.Dial(t.Context(), h.addr, oap.ClientOptions{}); err == nil {
		t.Error("dialled nobody")
	}
}
