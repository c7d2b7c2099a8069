package oap_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"

	"micronode/http/oap"
)

// answers to frames that a server with so much memory gives, on one connection.
func ask(t *testing.T, memory *atomic.Int64, most int64, handle func(context.Context, *oap.Exchange), frames ...*oap.Frame) (got []oap.Frame) {
	t.Helper()
	ours, theirs := net.Pipe()
	s := oap.NewServer(oap.Options{
		Handle: handle, Hello: func() []byte { return []byte("{}") },
		Fault: func(err error, _ uint64) (uint16, []byte) {
			if f, ok := err.(*oap.Fault); ok {
				return f.Code, []byte(f.Name)
			}
			return 500, nil
		},
		Memory: memory, MemoryMax: most,
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(t.Context(), theirs)
	}()
	var sent bytes.Buffer
	for _, f := range frames {
		sent.Write(oap.AppendFrame(nil, f))
	}
	go func() { _, _ = ours.Write(sent.Bytes()) }() // ends with the connection
	var d oap.Decoder
	for len(got) < len(frames) {
		n, err := ours.Read(d.Room())
		d.Filled(n)
		for f, ok, _ := d.Next(t.Context()); ok; f, ok, _ = d.Next(t.Context()) {
			f.Payload = bytes.Clone(f.Payload)
			got = append(got, f)
		}
		if err != nil {
			break
		}
	}
	_ = ours.Close()
	<-done
	return got
}

// What a client makes the node keep before anybody has asked for it is bounded,
// over all connections, and given back.
func TestMemoryIsBounded(t *testing.T) {
	ok := func(_ context.Context, x *oap.Exchange) { _ = x.End(200, nil) }
	start := func(n int, flags uint16) *oap.Frame {
		return &oap.Frame{Flags: oap.FlagReq | oap.FlagStart | flags, App: oap.AppMailbox, Corr: 1, Payload: make([]byte, n)}
	}
	for name, c := range map[string]struct {
		frame *oap.Frame
		most  int64
		code  uint16
		said  string
	}{
		"a verb":                           {start(4096, 0), 0, 200, ""},
		"a verb that is no verb":           {start(4097, 0), 1 << 20, 413, "VerbTooLarge"},
		"a large request":                  {start(100<<10, oap.FlagEnd), 1 << 20, 200, ""},
		"a large request, and no memory":   {start(100<<10, oap.FlagEnd), 50 << 10, 503, "NoMemory"},
		"a larger one, and no buffer":      {start(900<<10, oap.FlagEnd), 300 << 10, 503, "NoMemory"},
		"a larger one, and just enough of": {start(900<<10, oap.FlagEnd), 4 << 20, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var memory atomic.Int64
			got := ask(t, &memory, c.most, ok, c.frame)
			if len(got) != 1 || got[0].Code != c.code || string(got[0].Payload) != c.said {
				t.Errorf("%+v", got)
			}
			if left := memory.Load(); left != 0 {
				t.Errorf("%d bytes were not given back", left)
			}
		})
	}
}
