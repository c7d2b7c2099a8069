package httpapi_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/http/inflate/bombtest"
	"micronode/http/oap"
	"micronode/store"
	"micronode/store/mbox"
)

// withOAP opens the second door, too.
func withOAP(o *httpapi.Options) { o.OAPAddr = "127.0.0.1:0" }

func (r *rig) oapAddr() string {
	for _, l := range r.door.Listeners() {
		if l.Plane == "oap" {
			return l.Address
		}
	}
	r.t.Fatal("no OAP listener")
	return ""
}

func (r *rig) oap() *oap.Client {
	r.t.Helper()
	c, err := oap.Dial(r.t.Context(), r.oapAddr(), oap.ClientOptions{ErrorOf: httpapi.ErrorOf})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// said is an answer in words that both doors have: the error, or what was got.
type said struct {
	what string
	err  error
}

// told is an error as the table has it.
func told(err error) string {
	if err == nil {
		return "ok"
	}
	for _, row := range httpapi.Table() {
		if errors.Is(err, row.Err) {
			return fmt.Sprintf("%d %s %s", row.Status, row.Code, row.Reason)
		}
	}
	return err.Error()
}

// One list of operations, drawn at random, on two nodes that are alike, over HTTP
// to one and over OAP to the other: the same answers.
func TestSameAnswersThroughBothDoors(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	mail := [2]*post{newPost(mbox.Options{}), newPost(mbox.Options{})}
	byHTTP, byOAP := start(t, withPost(mail[0])), start(t, withPost(mail[1]), withOAP)
	client, err := httpapi.NewClient(httpapi.ClientOptions{Addr: byHTTP.addr})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	second := byOAP.oap()
	ctx := t.Context()

	bodies := []string{"", "a", text(100), text(64 << 10), text(64<<10 + 1), text(300 << 10)}
	addrOf := func() string {
		b := bodies[rng.IntN(len(bodies))]
		return cmp.Or([...]string{"", "", "", "b3:no", "b3:" + strings.Repeat("0", 64)}[rng.IntN(5)], store.Sum([]byte(b)).String())
	}
	call := func(app uint16, verb any) (string, error) {
		raw, _ := json.Marshal(verb)
		body, err := second.Call(ctx, app, raw)
		return string(body), err
	}
	http := func(method, path, body string, headers ...string) said {
		a := byHTTP.ask(method, path, strings.NewReader(body), headers...)
		if a.status < 400 {
			return said{what: a.body}
		}
		return said{err: httpapi.ErrorOf(uint16(a.status), []byte(a.body))}
	}
	fields := func(what string, names ...string) string { // what both say, without ids and clocks
		var m map[string]any
		_ = json.Unmarshal([]byte(what), &m)
		out := ""
		for _, n := range names {
			out += fmt.Sprint(m[n], " ")
		}
		return out
	}
	var receipts [2][]string
	for i := range 400 {
		var a, b said
		op := rng.IntN(9)
		switch op {
		case 0: // put
			body := bodies[rng.IntN(len(bodies))]
			a = http("PUT", "/put", body)
			s, err := second.Put(ctx, strings.NewReader(body), int64(len(body)), "")
			a.what = fields(a.what, "address", "size")
			b = said{fmt.Sprint(s.Address, " ", s.Size, " "), err}
		case 1: // put, expecting what it may not be
			body, want := bodies[rng.IntN(len(bodies))], addrOf()
			a = http("PUT", "/put", body, "X-Content-B3", want)
			s, err := second.Put(ctx, strings.NewReader(body), -1, want)
			a.what = fields(a.what, "address", "size")
			b = said{fmt.Sprint(s.Address, " ", s.Size, " "), err}
		case 2: // get, or a part of it
			addr, off, n := addrOf(), int64(rng.IntN(2)*rng.IntN(70_000)), int64(1+rng.IntN(100_000))
			part := rng.IntN(2) == 0
			if part {
				a = http("GET", "/o/"+addr, "", "Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
			} else {
				off, n = 0, -1
				a = http("GET", "/o/"+addr, "")
			}
			var got bytes.Buffer
			_, err := second.Get(ctx, addr, off, n, &got)
			b = said{got.String(), err}
		case 3: // head
			addr := addrOf()
			res := byHTTP.ask("HEAD", "/o/"+addr, nil)
			a = said{what: res.header.Get("Content-Length")}
			if res.status >= 400 {
				a = said{err: httpapi.ErrorOf(uint16(res.status), fmt.Appendf(nil, `{"code":%q,"reason":%q}`, map[int]string{400: "bad_request", 404: "not_found"}[res.status], map[int]string{400: "address", 404: "object"}[res.status]))}
			}
			s, err := second.Head(ctx, addr)
			b = said{fmt.Sprint(s.Size), err}
			if err != nil {
				b.what = ""
			}
		case 4, 5: // send, now and then badly
			m := map[string]any{"topic": [...]string{"t", "u", "bad topic"}[rng.IntN(3)], "payload_b64": base64.StdEncoding.EncodeToString([]byte(text(rng.IntN(200))))}
			if rng.IntN(3) == 0 {
				m["idem_key"] = [...]string{"k1", "k2", ""}[rng.IntN(3)]
			}
			if rng.IntN(10) == 0 {
				m["what"] = 1
			}
			raw, _ := json.Marshal(m)
			a = http("POST", "/mbox/send", string(raw), "Content-Type", "application/json")
			m["op"] = "send"
			b.what, b.err = call(oap.AppMailbox, m)
			a.what, b.what = fields(a.what, "duplicate"), fields(b.what, "duplicate")
		case 6: // recv
			m := map[string]any{"topic": [...]string{"t", "u"}[rng.IntN(2)], "max_messages": rng.IntN(4)}
			raw, _ := json.Marshal(m)
			a = http("POST", "/mbox/recv", string(raw), "Content-Type", "application/json")
			m["op"] = "recv"
			b.what, b.err = call(oap.AppMailbox, m)
			for k, s := range []*said{&a, &b} {
				var got httpapi.RecvAnswer
				_ = json.Unmarshal([]byte(s.what), &got)
				s.what = ""
				for _, e := range got.Messages {
					receipts[k] = append(receipts[k], e.Receipt)
					s.what += fmt.Sprint(e.Topic, e.PayloadHash, e.Attempt, e.IdemKey, " ")
				}
			}
		default: // ack, nack; old and new receipts
			path := [...]string{"ack", "nack"}[op-7]
			m := [2]map[string]any{{"receipt": "nonsense"}, {"receipt": "nonsense", "op": path}}
			if n := min(len(receipts[0]), len(receipts[1])); n > 0 {
				which := rng.IntN(n)
				m[0]["receipt"], m[1]["receipt"] = receipts[0][which], receipts[1][which]
			}
			raw, _ := json.Marshal(m[0])
			a = http("POST", "/mbox/"+path, string(raw), "Content-Type", "application/json")
			b.what, b.err = call(oap.AppMailbox, m[1])
			a.what, b.what = fields(a.what, "ok"), fields(b.what, "ok")
		}
		if told(a.err) != told(b.err) || a.err == nil && a.what != b.what {
			t.Fatalf("operation %d (%d): over HTTP %q %s, over OAP %q %s", i, op, short(a.what), told(a.err), short(b.what), told(b.err))
		}
	}
}

func short(s string) string { return s[:min(len(s), 200)] }

func TestOAPHello(t *testing.T) {
	r := start(t, withOAP)
	h, err := r.oap().Hello(t.Context())
	if err != nil || h.MaxFrame != 1<<20 || h.MaxInflight != 64 || h.Flags != 255 || fmt.Sprint(h.Versions, h.Transports) != "[1] [tcp]" {
		t.Errorf("%+v %v", h, err)
	}
}

// What goes through the second door is told as what goes through the first is.
func TestOAPIsObserved(t *testing.T) {
	r := start(t, withOAP, func(o *httpapi.Options) { o.Limits.MaxObjectBytes = 1 << 20 })
	c := r.oap()
	body := text(200 << 10)
	if _, err := c.Put(t.Context(), strings.NewReader(body), -1, ""); err != nil {
		t.Fatal(err)
	}
	x := r.heard.last(t)
	if x.Route != "oap:objects.put" || x.Method != "OAP" || x.Status != 200 || x.BytesIn != 200<<10 || x.Plane != "oap" || len(x.CorrID) != 16 {
		t.Errorf("%+v", x)
	}
	if _, err := c.Get(t.Context(), store.Sum([]byte(body)).String(), 0, -1, io.Discard); err != nil {
		t.Fatal(err)
	}
	if x := r.heard.last(t); x.Route != "oap:objects.get" || x.BytesOut != 200<<10 {
		t.Errorf("%+v", x)
	}
	if _, err := c.Get(t.Context(), store.Sum([]byte(body)).String(), 200<<10, -1, io.Discard); !errors.Is(err, httpapi.ErrRange) {
		t.Error("from its end on:", err)
	}
	r.heard.last(t)
	if _, err := c.Put(t.Context(), strings.NewReader(text(2<<20)), -1, ""); !errors.Is(err, store.ErrTooLarge) {
		t.Error(err)
	}
	if x := r.heard.last(t); x.Status != 413 || x.Reason != "too_large" {
		t.Errorf("%+v", x)
	}
	if got := r.heard.rejections(); len(got) != 1 || got[0] != "413" {
		t.Errorf("counted %v", got)
	}
	if _, err := c.Call(t.Context(), 0x0999, []byte(`{"op":"x"}`)); !errors.Is(err, httpapi.ErrNotSupported) {
		t.Errorf("an unknown application: %v", err)
	}
}

// The second door has the same admission: rate, flows, slots, readiness.
func TestOAPIsAdmitted(t *testing.T) {
	closed := make(chan string, 1)
	r := start(t, withOAP, func(o *httpapi.Options) {
		o.Limits.RPS, o.Limits.Inflight = 1, 1
		o.Ports.Plane = func(string) (string, time.Duration) {
			select {
			case s := <-closed:
				return s, time.Second
			default:
				return httpapi.PlaneOpen, 0
			}
		}
	})
	c := r.oap()
	if _, err := c.Has(t.Context(), store.Sum(nil).String()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Has(t.Context(), store.Sum(nil).String()); !errors.Is(err, httpapi.ErrRateLimited) {
		t.Error("beyond the rate of both doors:", err)
	}
	if a := r.ask("GET", "/o", nil); a.status != 429 {
		t.Errorf("the other door: %d", a.status)
	}
	closed <- httpapi.PlaneReadOnly
	if _, err := c.Put(t.Context(), strings.NewReader("x"), 1, ""); !errors.Is(err, store.ErrReadOnly) {
		t.Error("a put while the plane is read-only:", err)
	}
	if s := r.door.Admission(); s.Open+s.Inflight != 0 {
		t.Errorf("%+v", s)
	}
}

// Every bomb is refused over COMP as it is over HTTP, and 9:1 passes where 11:1
// does not.
func TestOAPBombs(t *testing.T) {
	r := start(t, withOAP)
	try := func(payload []byte) (uint16, string) {
		w := dialRaw(t, "tcp", r.oapAddr())
		w.say(string(oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagStart, App: oap.AppObjects, Corr: 1, Payload: []byte(`{"op":"put"}`)})))
		w.say(string(oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagEnd | oap.FlagComp, App: oap.AppObjects, Corr: 1, Payload: payload})))
		d := oap.Decoder{}
		for {
			n, err := w.r.Read(d.Room())
			d.Filled(n)
			if f, ok, _ := d.Next(context.Background()); ok {
				return f.Code, string(f.Payload)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, bomb := range bombtest.All() {
		if bomb.Coding != "zstd" {
			continue
		}
		if code, body := try(bomb.Body); code != 413 || !strings.Contains(body, `"reason":"decompress"`) {
			t.Errorf("%s: %d %s", bomb.Name, code, body)
		}
	}
	_, good := bombtest.Mix("zstd", "spread", 60<<10, 9, false)
	if code, body := try(good); code != 200 {
		t.Errorf("9:1: %d %s", code, body)
	}
	_, bad := bombtest.Mix("zstd", "spread", 60<<10, 11, true)
	if code, body := try(bad); code != 413 {
		t.Errorf("11:1: %d %s", code, body)
	}
	_, large := bombtest.Mix("zstd", "spread", 70<<10, 9, false)
	if code, body := try(large); code != 413 || !strings.Contains(body, "ChunkTooLarge") {
		t.Errorf("a chunk of 70 KiB: %d %s", code, body)
	}
}

// A long poll holds nothing and is woken by a send through the other door; a
// drain answers those that wait and lets what has begun finish.
func TestOAPPollAndDrain(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withOAP, withPost(p), func(o *httpapi.Options) { o.Limits.Inflight = 1 })
	c := r.oap()
	poll := func() chan said {
		got := make(chan said, 1)
		go func() {
			body, err := c.Call(context.Background(), oap.AppMailbox, []byte(`{"op":"recv","topic":"t","wait_ms":20000}`))
			got <- said{string(body), err}
		}()
		<-p.waiting
		return got
	}
	waits := poll()
	if s := r.door.Admission(); s.Inflight+s.Open != 0 {
		t.Errorf("%+v", s)
	}
	if a := r.post("/mbox/send", `{"topic":"t","payload_b64":"aGVsbG8="}`); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if got := <-waits; got.err != nil || !strings.Contains(got.what, "aGVsbG8=") {
		t.Errorf("%+v", got)
	}
	waits = poll()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var drained sync.WaitGroup
	drained.Go(func() {
		if cut, err := r.door.Drain(ctx); cut != 0 || err != nil {
			t.Error(cut, err)
		}
	})
	if got := <-waits; got.err != nil || got.what != `{"messages":[]}` {
		t.Errorf("at the drain: %+v", got)
	}
	drained.Wait()
}

// A client that leaves in the middle of an answer is no failure of the node's.
func TestOAPClientLeaves(t *testing.T) {
	r := start(t, withOAP)
	addr := r.keep(text(32 << 20)).String()
	w := dialRaw(t, "tcp", r.oapAddr())
	w.say(string(oap.AppendFrame(nil, &oap.Frame{
		Flags: oap.FlagReq | oap.FlagStart | oap.FlagEnd, App: oap.AppObjects, Corr: 1, Payload: []byte(`{"op":"get","obj":"` + addr + `"}`),
	})))
	if _, err := w.r.ReadByte(); err != nil { // it has begun
		t.Fatal(err)
	}
	_ = w.Close()
	if x := r.heard.last(t); x.Status != 499 || !x.Aborted || x.Route != "oap:objects.get" {
		t.Errorf("%+v", x)
	}
	if got := r.heard.rejections(); len(got) != 0 {
		t.Errorf("counted %v", got)
	}
}

// Bodies that have begun take memory that is bounded over both doors, and given
// back when they end.
func TestBodiesOnTheirWayAreBounded(t *testing.T) {
	r := start(t, withOAP, func(o *httpapi.Options) { o.Limits.Inflight, o.Limits.QueueTotal = 1, 6 })
	w := dialRaw(t, "tcp", r.oapAddr())
	for corr := range uint64(6) { // of eight open places, one client has six
		w.say(string(oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagReq | oap.FlagStart, App: oap.AppObjects, Corr: 1 + corr, Payload: []byte(`{"op":"put"}`)})))
	}
	for r.door.Admission().Open < 6 {
		runtime.Gosched()
	}
	wantProblem(t, r.ask("PUT", "/put", strings.NewReader("one more")), 503, "overload", "not finished")
	if a := send(t, r.from("127.0.0.5"), "PUT", "http://"+r.addr+"/put", strings.NewReader("another client")); a.status != 201 {
		t.Errorf("another client: %d", a.status)
	}
	_ = w.Close()
	for r.door.Admission().Open > 0 {
		runtime.Gosched()
	}
	if a := r.ask("PUT", "/put", strings.NewReader("one more")); a.status != 201 {
		t.Errorf("afterwards: %d", a.status)
	}
}

// While the node drains, what has begun on a connection finishes, and nothing new
// begins there.
func TestOAPDrainBeginsNothing(t *testing.T) {
	var h *holding
	r := start(t, withOAP, func(o *httpapi.Options) {
		h = newHolding(o.Ports.Objects)
		o.Ports.Objects = h
	})
	c, addr := r.oap(), r.keep("held").String()
	got := make(chan error, 1)
	go func() {
		_, err := c.Get(context.Background(), addr, 0, -1, io.Discard)
		got <- err
	}()
	<-h.entered
	var drained sync.WaitGroup
	drained.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if cut, err := r.door.Drain(ctx); cut != 0 || err != nil {
			t.Error(cut, err)
		}
	})
	for r.door.Listeners()[0].Plane == "data" {
		runtime.Gosched()
	}
	if _, err := c.Head(t.Context(), addr); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("something new: %v", err)
	}
	close(h.release)
	if err := <-got; err != nil {
		t.Errorf("what had begun: %v", err)
	}
	drained.Wait()
}
