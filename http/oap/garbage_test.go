package oap_test

import (
	"context"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"

	"micronode/http/inflate"
	"micronode/http/oap"
)

// session is a good one, to be damaged.
func session(t testing.TB) []byte {
	comp := start(3, `{"op":"echo"}`, oap.FlagComp)
	comp.Payload = squeeze(t, comp.Payload)
	var wire []byte
	for _, f := range []oap.Frame{
		{Flags: oap.FlagReq, Corr: 1, Payload: []byte(`{"ua":"x"}`)},
		start(2, `{"op":"echo"}`, 0), comp, data(2, "some bytes", 0), data(3, "others", end), data(2, "", end),
		start(4, `{"op":"get","len":100}`, end), start(5, `{"op":"early"}`, 0), data(5, "late", 0), data(5, "", end),
	} {
		wire = oap.AppendFrame(wire, &f)
	}
	return wire
}

// throw writes wire to a session, reads what comes and leaves when the session is
// through with it: it has answered whole frames or closed, and has not hung.
func throw(t testing.TB, guard *inflate.Guard, wire []byte) {
	o := newToy().options()
	o.Guard = guard
	here, there := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		oap.NewServer(o).ServeConn(context.Background(), there)
	}()
	read := make(chan error, 1)
	go func() {
		dec := oap.Decoder{InflateMax: 8 << 20, Guard: guard}
		for {
			switch f, ok, err := dec.Next(context.Background()); {
			case err != nil:
				read <- err
				return
			case ok && f.Flags&oap.FlagResp == 0:
				t.Errorf("an answer without RESP: %+v", f)
			case ok:
				continue
			}
			n, err := here.Read(dec.Room())
			dec.Filled(n)
			if err != nil {
				read <- nil
				return
			}
		}
	}()
	_, _ = here.Write(wire) // the session may close before the end
	_ = here.Close()
	<-served
	if err := <-read; err != nil {
		t.Errorf("the answers are not frames: %v", err)
	}
}

// TestGarbage throws noise, and good sessions with bits flipped or bytes missing.
func TestGarbage(t *testing.T) {
	guard, good := inflate.NewGuard(), session(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		wire := append([]byte(nil), good...)
		switch rnd.IntN(4) {
		case 0:
			for i := range wire {
				wire[i] = byte(rnd.Uint32())
			}
		case 1:
			wire[rnd.IntN(len(wire))] ^= 1 << rnd.IntN(8)
		case 2:
			for range 5 {
				wire[rnd.IntN(len(wire))] = byte(rnd.Uint32())
			}
		default:
			at := rnd.IntN(len(wire))
			wire = append(wire[:at], wire[min(len(wire), at+1+rnd.IntN(50)):]...)
		}
		throw(t, guard, wire)
	}
}

// TestCutAnywhere: a session that ends at any byte ends.
func TestCutAnywhere(t *testing.T) {
	guard, good := inflate.NewGuard(), session(t)
	for n := range good {
		throw(t, guard, good[:n])
	}
}

// TestSilence: whatever came, a client that then says nothing is let go.
func TestSilence(t *testing.T) {
	good := session(t)
	for n := 0; n < len(good); n += 7 {
		synctest.Test(t, func(t *testing.T) {
			p := connect(t, t.Context(), newToy().options())
			p.raw(good[:n])
			<-p.served
		})
	}
}

func FuzzSession(f *testing.F) {
	f.Add(session(f))
	for _, v := range vectors(f) {
		if in := v.input(f); len(in) < 10_000 {
			f.Add(in)
		}
	}
	guard := inflate.NewGuard()
	f.Fuzz(func(t *testing.T, wire []byte) {
		throw(t, guard, wire[:min(len(wire), 1<<16)])
	})
}
