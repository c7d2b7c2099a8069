package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "micronode/http"
)

// bus plays the node's bus: what is sent to events comes out of every tail.
type bus struct {
	mu     sync.Mutex
	asked  []httpapi.TailQuery
	events chan httpapi.Event // closed: the node shuts down
	closed chan struct{}      // a token for each tail given back
}

func newBus() *bus {
	return &bus{events: make(chan httpapi.Event, 64), closed: make(chan struct{}, 64)}
}

func (b *bus) tail(q httpapi.TailQuery) (httpapi.Tail, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, q)
	return b, nil
}

func (b *bus) Next(ctx context.Context) (httpapi.Event, error) {
	select {
	case e, ok := <-b.events:
		if !ok {
			return e, io.EOF
		}
		return e, nil
	case <-ctx.Done():
		return httpapi.Event{}, ctx.Err()
	}
}

func (b *bus) Close() { b.closed <- struct{}{} }

func withBus(b *bus) func(*httpapi.Options) {
	return func(o *httpapi.Options) { o.Ports.Tail = b.tail }
}

// follow begins a tail that the test ends with stop.
func (r *rig) follow(c *http.Client, query string, headers ...string) (*http.Response, context.CancelFunc) {
	r.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r.t.Cleanup(stop)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+"/api/v1/bus/tail"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, stop
}

func TestTailNDJSON(t *testing.T) {
	b := newBus()
	r := start(t, withBus(b))
	resp, _ := r.follow(r.client, "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != httpapi.TypeNDJSON || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	for seq := range uint64(3) { // each line comes while the tail goes on
		b.events <- httpapi.Event{Seq: seq + 1, Topic: "micronode.crash", Kind: "ServiceCrashed", Lagged: seq, Data: json.RawMessage(`{"a":"b\nc"}`)}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var e httpapi.Event
		if err := json.Unmarshal(line, &e); err != nil || e.Seq != seq+1 || e.Lagged != seq || e.Kind != "ServiceCrashed" {
			t.Errorf("%s: %v", line, err)
		}
	}
	close(b.events)
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Errorf("%q %v at the end", rest, err)
	}
	<-b.closed
	if x := r.heard.last(t); x.Status != 200 || x.Aborted || x.Route != "/api/v1/bus/tail" {
		t.Errorf("%+v", x)
	}
}

func TestTailSSE(t *testing.T) {
	b := newBus()
	r := start(t, withBus(b))
	resp, stop := r.follow(r.op, "?topic=micronode.ready", "Accept", "text/html, text/event-stream;q=0.9", "Last-Event-ID", "41")
	if resp.Header.Get("Content-Type") != httpapi.TypeSSE {
		t.Fatalf("%v", resp.Header)
	}
	b.events <- httpapi.Event{Seq: 42, Topic: "micronode.ready", Kind: "ReadyChanged"}
	b.events <- httpapi.Event{Seq: 43, Topic: "micronode.ready", Kind: "bad\nkind"}
	want := "id: 42\nevent: ReadyChanged\ndata: {\"seq\":42,\"ts\":\"0001-01-01T00:00:00Z\",\"topic\":\"micronode.ready\",\"kind\":\"ReadyChanged\"}\n\n" +
		"id: 43\ndata: {\"seq\":43,\"ts\":\"0001-01-01T00:00:00Z\",\"topic\":\"micronode.ready\",\"kind\":\"bad\\nkind\"}\n\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
		t.Errorf("%q %v", got, err)
	}
	stop() // the client leaves
	<-b.closed
	if q := b.asked[0]; q != (httpapi.TailQuery{Topic: "micronode.ready", History: true, SinceSeq: 41}) {
		t.Errorf("%+v", q)
	}
}

func TestTailQueries(t *testing.T) {
	b := newBus()
	close(b.events)
	r := start(t, withBus(b))
	for query, want := range map[string]httpapi.TailQuery{
		"":                            {Topic: "micronode"},
		"?topic=micronode":            {Topic: "micronode"},
		"?topic=micronode.crash":      {Topic: "micronode.crash"},
		"?since=10m":                  {Topic: "micronode", History: true, Since: 10 * time.Minute},
		"?since=0":                    {Topic: "micronode", History: true},
		"?since=17":                   {Topic: "micronode", History: true, SinceSeq: 17},
		"?kind=Shutdown&since=1h2m3s": {Topic: "micronode", Kind: "Shutdown", History: true, Since: time.Hour + 2*time.Minute + 3*time.Second},
	} {
		b.asked = nil
		a := r.ask("GET", "/api/v1/bus/tail"+query, nil)
		if a.status != 200 || len(b.asked) != 1 || b.asked[0] != want {
			t.Errorf("%s: %d %+v", query, a.status, b.asked)
		}
	}
	for _, query := range []string{"?topic=", "?topic=other", "?topic=micronode.", "?topic=micronode.a.b", "?topic=micronodes", "?topic=micronode.%0a", "?since=", "?since=-1m", "?since=yesterday",
		"?kind=", "?kind=a%20b", "?kind=" + strings.Repeat("x", 65), "?kind=a&kind=b", "?tpoic=micronode"} {
		if a := r.ask("GET", "/api/v1/bus/tail"+query, nil); a.status != 400 || a.problem(t).Code != "bad_request" {
			t.Errorf("%s: %d", query, a.status)
		}
	}
	if a := r.ask("GET", "/api/v1/bus/tail", nil, "Last-Event-ID", "x"); a.status != 400 {
		t.Errorf("Last-Event-ID: %d", a.status)
	}
	if a := r.ask("HEAD", "/api/v1/bus/tail", nil); a.status != 200 || a.body != "" {
		t.Errorf("HEAD: %d", a.status)
	}
}

func TestTailsAreBounded(t *testing.T) {
	b := newBus()
	r := start(t, withBus(b))
	const most = 32
	stops := make([]context.CancelFunc, most)
	for i := range most {
		_, stops[i] = r.follow(r.client, "")
	}
	a := r.ask("GET", "/api/v1/bus/tail", nil)
	if a.status != 503 || a.problem(t).Reason != "overload" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if resp, _ := r.follow(r.op, ""); resp.StatusCode != 200 { // the operator's are counted apart
		t.Errorf("%d on the operator socket", resp.StatusCode)
	}
	stops[0]()
	<-b.closed
	r.heard.last(t) // the refusal
	r.heard.last(t) // the tail that was ended
	if resp, _ := r.follow(r.client, ""); resp.StatusCode != 200 {
		t.Errorf("%d with room again", resp.StatusCode)
	}
}

// A reader that has stopped reading holds up neither the drain nor the end, and
// is not counted as cut.
func TestStuckTails(t *testing.T) {
	b := newBus()
	r := start(t, withBus(b), func(o *httpapi.Options) { o.Limits.RequestTimeout = time.Hour }) // and so of one write
	large := httpapi.Event{Seq: 1, Topic: "micronode.crash", Kind: "Drill", Data: json.RawMessage(`"` + strings.Repeat("x", 8<<20) + `"`)}
	for _, network := range []string{"tcp", "unix"} {
		addr := r.addr
		if network == "unix" {
			addr = r.sock
		}
		w := dialRaw(t, network, addr)
		w.say("GET /api/v1/bus/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := w.r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Fatal(line, err)
		}
		b.events <- large
		for len(b.events) > 0 { // it is being written to somebody who does not read
			runtime.Gosched()
		}
	}
	if cut, err := r.door.Drain(t.Context()); cut != 0 || err != nil {
		t.Errorf("drain: %d cut, %v", cut, err)
	}
	if cut, err := r.door.Close(t.Context()); cut != 0 || err != nil {
		t.Errorf("close: %d cut, %v", cut, err)
	}
	for range 2 {
		if x := r.heard.last(t); !x.Aborted {
			t.Errorf("%+v", x)
		}
	}
}

// A tail that the node has ended is whole when the door closes: its last byte is
// out before its connection is cut.
func TestTailsEndWhole(t *testing.T) {
	for range 10 {
		b := newBus()
		r := start(t, withBus(b))
		var all []*http.Response
		for range 8 {
			resp, _ := r.follow(r.op, "")
			all = append(all, resp)
		}
		close(b.events)
		if cut, err := r.door.Close(t.Context()); cut != 0 || err != nil {
			t.Errorf("%d cut, %v", cut, err)
		}
		for _, resp := range all {
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
				t.Errorf("%q %v", rest, err)
			}
		}
	}
}

// A drain ends the tails of TCP; those of the operator socket see it through.
func TestTailAndDrain(t *testing.T) {
	b := newBus()
	r := start(t, withBus(b))
	tcp, _ := r.follow(r.client, "")
	op, _ := r.follow(r.op, "")
	if _, err := r.door.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(tcp.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v at the end", rest, err)
	}
	b.events <- httpapi.Event{Seq: 1, Topic: "micronode.shutdown", Kind: "Shutdown"}
	if line, err := bufio.NewReader(op.Body).ReadString('\n'); err != nil || !strings.Contains(line, "Shutdown") {
		t.Errorf("%q %v", line, err)
	}
}
