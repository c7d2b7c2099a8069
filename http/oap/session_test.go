package oap_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"micronode/http/oap"
)

const (
	end    = oap.FlagEnd
	answer = oap.FlagResp | oap.FlagEnd
)

func TestHello(t *testing.T) {
	reply := `{"max_frame":1048576,"versions":[1]}`
	for _, test := range []struct {
		name, body string
		flags      uint16
		code       uint16
		want       string
	}{
		{"empty", "", 0, 200, reply},
		{"ua", `{"ua":"sdk/0.1"}`, 0, 200, reply},
		{"protocol", `{"protocol":"OAP/1","x":1}`, 0, 200, reply},
		{"start and end", `{}`, oap.FlagStart | end, 200, reply},
		{"ack and e2e", ``, oap.FlagAckReq | oap.FlagE2E, 200, reply},
		{"text", "hello", 0, 400, "BadHello"},
		{"array", "[]", 0, 400, "BadHello"},
		{"cut", `{"ua":`, 0, 400, "BadHello"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := connect(t, t.Context(), newToy().options())
			p.send(oap.Frame{Flags: oap.FlagReq | test.flags, Corr: 3, Payload: []byte(test.body)})
			p.want(answer, test.code, 3, test.want)
			p.alive()
		})
	}
}

// TestStreamRules: what fits no exchange is one 400, and the connection lives on.
func TestStreamRules(t *testing.T) {
	for _, test := range []struct {
		name string
		send []oap.Frame
		want string // of the one answer to exchange 5
		code uint16
	}{
		{"resp", []oap.Frame{{Flags: oap.FlagResp, App: 7, Corr: 5}}, "NotARequest", 400},
		{"event", []oap.Frame{{Flags: oap.FlagEvent, App: 7, Corr: 5}}, "NotARequest", 400},
		{"req and resp", []oap.Frame{{Flags: oap.FlagReq | oap.FlagResp | oap.FlagStart, App: 7, Corr: 5}}, "NotARequest", 400},
		{"no flags", []oap.Frame{{App: 7, Corr: 5}}, "NotARequest", 400},
		{"data without start", []oap.Frame{data(5, "x", 0)}, "NoStart", 400},
		{"end without start", []oap.Frame{data(5, "", end)}, "NoStart", 400},
		{"duplicate start", []oap.Frame{start(5, `{"op":"echo"}`, 0), start(5, `{"op":"echo"}`, 0)}, "DuplicateStart", 400},
		{"duplicate whole start", []oap.Frame{start(5, `{"op":"echo"}`, 0), start(5, `{"op":"echo"}`, end)}, "DuplicateStart", 400},
		{"duplicate of a whole request", []oap.Frame{start(5, `{"op":"hold"}`, end), start(5, `{"op":"hold"}`, end)}, "DuplicateStart", 400},
		{"more after end", []oap.Frame{start(5, `{"op":"hold"}`, end), data(5, "x", 0)}, "AfterEnd", 400},
		{"end after end", []oap.Frame{start(5, `{"op":"hold"}`, 0), data(5, "", end), data(5, "", end)}, "AfterEnd", 400},
		{"large chunk", []oap.Frame{start(5, `{"op":"echo"}`, 0), data(5, strings.Repeat("x", 65_537), 0)}, "ChunkTooLarge", 413},
		{"large last chunk", []oap.Frame{start(5, `{"op":"echo"}`, 0), data(5, strings.Repeat("x", 65_537), end)}, "ChunkTooLarge", 413},
		{"unknown app", []oap.Frame{{Flags: oap.FlagReq | oap.FlagStart | end, App: 0x4242, Corr: 5}}, "no such app", 501},
		{"panic", []oap.Frame{start(5, `{"op":"panic"}`, end)}, "Panic", 500},
		{"no answer", []oap.Frame{start(5, `{"op":"silent"}`, end)}, "Internal", 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			y := newToy()
			p := connect(t, t.Context(), y.options())
			p.send(test.send...)
			p.want(answer, test.code, 5, test.want)
			if string(test.send[0].Payload) == `{"op":"hold"}` { // its handler hears of it
				if err := <-y.ended; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
			p.alive()
		})
	}
}

// TestFraming: a fault of framing is one ERROR frame, and the end.
func TestFraming(t *testing.T) {
	good := oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagStart, App: 7, Corr: 8, Payload: []byte("x")})
	edit := func(at int, to byte) []byte {
		b := append([]byte(nil), good...)
		b[at] = to
		return b
	}
	comp := func(payload []byte) []byte {
		return oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagStart | oap.FlagComp, App: 7, Corr: 8, Payload: payload})
	}
	for _, test := range []struct {
		name string
		in   []byte
		want *oap.Fault
	}{
		{"flags", edit(6, 0x80), oap.ErrBadFlags},
		{"version", edit(5, 2), oap.ErrBadVersion},
		{"large", edit(0, 1), oap.ErrFrameTooLarge},
		{"cap", edit(29, 200), oap.ErrCapOutOfBounds},
		{"short", append([]byte{0, 0, 0, 20}, good[4:]...), oap.ErrTruncatedHeader},
		{"not zstd", comp([]byte("plain")), oap.ErrInflate},
		{"bomb", comp(squeeze(t, make([]byte, 100_000))), oap.ErrInflateBound},
	} {
		t.Run(test.name, func(t *testing.T) {
			y := newToy()
			p := connect(t, t.Context(), y.options())
			p.alive()
			p.send(start(1, `{"op":"hold"}`, end)) // does not keep the connection
			p.raw(test.in)
			p.want(answer, test.want.Code, 8, test.want.Name)
			p.wantEnd()
			if err := <-y.ended; err != nil { // of alive
				t.Error(err)
			}
			if err := <-y.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the open exchange ended with %v", err)
			}
		})
	}
}

// TestLate: what still comes of an exchange that was answered early is swallowed
// until its END; then its number is free.
func TestLate(t *testing.T) {
	p := connect(t, t.Context(), newToy().options())
	p.send(start(5, `{"op":"early"}`, 0))
	p.want(answer, 413, 5, "enough")
	p.send(data(5, "late", 0), data(5, strings.Repeat("x", 65_537), 0), data(5, "", end))
	p.alive()
	p.send(data(5, "x", 0))
	p.want(answer, 400, 5, "NoStart")
	p.send(start(5, `{"op":"echo"}`, 0), data(5, "again", end))
	p.want(answer, 200, 5, "again")
}

// TestInterleave: exchanges share a connection, frame by frame.
func TestInterleave(t *testing.T) {
	p := connect(t, t.Context(), newToy().options())
	for corr := uint64(1); corr <= 8; corr++ {
		p.send(start(corr, `{"op":"echo"}`, 0))
	}
	for _, piece := range []string{"a", "b", "c"} {
		for corr := uint64(1); corr <= 8; corr++ {
			p.send(data(corr, piece, 0))
		}
	}
	for corr := uint64(8); corr >= 1; corr-- {
		p.send(data(corr, "", end))
		p.want(answer, 200, corr, "abc")
	}
}

func TestAnswers(t *testing.T) {
	y := newToy()
	p := connect(t, t.Context(), y.options())
	p.send(start(1, `{"op":"get","len":70000}`, end))
	p.want(oap.FlagResp|oap.FlagStart, 200, 1, `{"address":"b3:get","size":70000,"offset":0,"length":70000}`)
	p.want(oap.FlagResp, 200, 1, string(make([]byte, 65_536)))
	p.want(oap.FlagResp, 200, 1, string(make([]byte, 70_000-65_536)))
	p.want(answer, 200, 1, "")
	if err := <-y.ended; err != nil {
		t.Error(err)
	}
	p.send(start(2, `{"op":"damage"}`, end))
	p.want(oap.FlagResp|oap.FlagStart, 200, 2, `{"address":"b3:get","size":10,"offset":0,"length":10}`)
	p.want(oap.FlagResp, 200, 2, "\x00\x00\x00\x00\x00")
	p.want(answer, 502, 2, "damaged")
	p.send(start(3, `{"op":"twice"}`, end))
	p.want(answer, 200, 3, "one")
	if err := <-y.ended; err == nil {
		t.Error("an exchange ended twice")
	}
	f := start(4, `{"op":"cap"}`, end)
	f.Cap = []byte("macaroon")
	p.send(f)
	p.want(answer, 200, 4, "macaroon")
	p.alive()
}

// TestComp: a compressed payload is the same request.
func TestComp(t *testing.T) {
	p := connect(t, t.Context(), newToy().options())
	s, d := start(1, `{"op":"echo"}`, oap.FlagComp), data(1, strings.Repeat("abcdefgh", 5), oap.FlagComp|end)
	s.Payload, d.Payload = squeeze(t, s.Payload), squeeze(t, d.Payload)
	p.send(s, d)
	p.want(answer, 200, 1, strings.Repeat("abcdefgh", 5))
	plain := append(noise(10_000), make([]byte, 60_000)...) // more than a chunk, once inflated
	big := oap.Frame{Flags: oap.FlagReq | oap.FlagComp, App: 7, Corr: 2, Payload: squeeze(t, plain)}
	p.send(start(2, `{"op":"echo"}`, 0), big)
	p.want(answer, 413, 2, "ChunkTooLarge")
	p.alive()
}

// TestInflight: 64 exchanges are open at a time, the next is 429.
func TestInflight(t *testing.T) {
	y := newToy()
	p := connect(t, t.Context(), y.options())
	for corr := uint64(1); corr <= oap.MaxInflight; corr++ {
		p.send(start(corr, `{"op":"hold"}`, end))
	}
	p.send(start(100, `{"op":"echo"}`, 0))
	p.want(answer, 429, 100, "TooManyStreams")
	p.send(data(100, "late", end)) // belongs to it
	close(y.release)
	for range oap.MaxInflight {
		if f := <-p.frames; f.Code != 200 || f.Flags != answer {
			t.Fatalf("%+v", f)
		}
	}
	p.alive()
}

func TestTooManyFrames(t *testing.T) {
	o := newToy().options()
	o.Limits = func() oap.Limits { return oap.Limits{StreamFrames: 3} }
	p := connect(t, t.Context(), o)
	p.send(start(1, `{"op":"echo"}`, 0), data(1, "a", 0), data(1, "b", end))
	p.want(answer, 200, 1, "ab")
	p.send(start(2, `{"op":"echo"}`, 0), data(2, "a", 0), data(2, "b", 0), data(2, "", end))
	p.want(answer, 413, 2, "TooManyFrames")
	p.alive()
}

// TestState: the hook hears of the first exchange and of the last.
func TestState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newToy()
		p := connect(t, t.Context(), y.options())
		p.send(start(1, `{"op":"hold"}`, end), start(2, `{"op":"hold"}`, end))
		synctest.Wait()
		if len(y.state) != 1 || !<-y.state {
			t.Fatal("want working, once")
		}
		close(y.release)
		<-p.frames
		<-p.frames
		synctest.Wait()
		if len(y.state) != 1 || <-y.state {
			t.Fatal("want quiet, once")
		}
	})
}

// TestPeerGone: a client that leaves ends its exchanges.
func TestPeerGone(t *testing.T) {
	y := newToy()
	p := connect(t, t.Context(), y.options())
	p.send(start(1, `{"op":"put"}`, 0), data(1, "half", 0), start(2, `{"op":"hold"}`, end))
	<-y.began
	<-y.began
	p.close()
	for range 2 {
		if err := <-y.ended; err == nil {
			t.Error("an exchange of a client that left ended well")
		}
	}
}

// TestServerGone: so does the end of the server's context.
func TestServerGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	y := newToy()
	p := connect(t, ctx, y.options())
	p.send(start(1, `{"op":"hold"}`, end))
	<-y.began
	cancel()
	p.wantEnd()
	if err := <-y.ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
