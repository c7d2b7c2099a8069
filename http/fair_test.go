package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	httpapi "micronode/http"
	"micronode/store/mbox"
)

// from is a client with an address of its own, which is its flow.
func (r *rig) from(ip string) *http.Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext(ctx, network, r.addr)
		},
		MaxIdleConnsPerHost: 64,
	}
	r.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t}
}

// crowd is clients of one address that ask without a pause, and again at once
// when they are refused.
type crowd struct {
	ip      string
	clients int
	served  atomic.Int64
}

// contest lets crowds ask until so many requests have been served in all.
func (r *rig) contest(path string, until int64, crowds ...*crowd) {
	r.t.Helper()
	var all sync.WaitGroup
	var served atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, c := range crowds {
		client := r.from(c.ip)
		for range c.clients {
			all.Go(func() {
				for ctx.Err() == nil {
					req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+r.addr+path, nil)
					resp, err := client.Do(req)
					if err != nil {
						if ctx.Err() == nil {
							r.t.Error(err)
						}
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					switch {
					case resp.StatusCode == 200:
						c.served.Add(1)
						if served.Add(1) >= until {
							cancel()
						}
					case resp.Header.Get("Retry-After") == "":
						r.t.Errorf("%d without Retry-After", resp.StatusCode)
					}
				}
			})
		}
	}
	all.Wait()
}

func wantRatio(t *testing.T, a, b *crowd, want, within float64) {
	t.Helper()
	ratio := float64(a.served.Load()) / float64(b.served.Load())
	t.Logf("%s was served %d, %s %d", a.ip, a.served.Load(), b.ip, b.served.Load())
	if math.Abs(ratio-want) > want*within {
		t.Errorf("served in the ratio %.2f, want %.2f", ratio, want)
	}
}

// Two clients, one with ten times the other's connections: the same service. Then
// other weights, live: the service follows.
func TestFairShares(t *testing.T) {
	limits := httpapi.Limits{RPS: 400}
	r := start(t, func(o *httpapi.Options) { o.Limits = limits })
	path := "/o/" + r.keep("shared").String()
	many, few := &crowd{ip: "127.0.0.2", clients: 40}, &crowd{ip: "127.0.0.3", clients: 4}
	r.contest(path, 40, &crowd{ip: "127.0.0.9", clients: 20}) // the burst is anybody's
	r.contest(path, 500, many, few)
	wantRatio(t, many, few, 1, .15)

	if err := r.door.Configure(limits, httpapi.Fairness{Weights: map[string]int{"127.0.0.3": 2, "127.0.0.0/8": 1}}); err != nil {
		t.Fatal(err)
	}
	many, few = &crowd{ip: "127.0.0.2", clients: 40}, &crowd{ip: "127.0.0.3", clients: 20}
	r.contest(path, 600, many, few)
	wantRatio(t, few, many, 2, .2)
	if err := r.door.Configure(limits, httpapi.Fairness{Weights: map[string]int{"nobody": 2}}); err == nil {
		t.Error("a weight of nobody was taken")
	}
}

// Nobody else's proxy is believed; a trusted one names the client, and its own
// kind are passed over.
func TestForwardedClients(t *testing.T) {
	for name, c := range map[string]struct {
		trusted, forwarded string
		shared             bool // the two clients share one quota
	}{
		"a proxy that nobody trusts":   {"192.0.2.1", "198.51.100.%d", true},
		"a trusted proxy":              {"127.0.0.0/8", "198.51.100.%d", false},
		"a forged beginning":           {"127.0.0.1", "10.9.9.%d, 198.51.100.7", true},
		"behind two trusted proxies":   {"127.0.0.0/8", "198.51.100.%d, 127.0.0.77", false},
		"something that is no address": {"127.0.0.1", "me%d", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(o *httpapi.Options) {
				o.Limits.FlowRPS = 1
				o.Fairness.TrustedProxies = []string{c.trusted}
			})
			for i := range 2 {
				a := r.ask("GET", "/o", nil, "X-Forwarded-For", fmt.Sprintf(c.forwarded, i))
				if want := map[bool]int{true: 429, false: 200}[c.shared && i == 1]; a.status != want {
					t.Errorf("client %d: %d, want %d", i, a.status, want)
				} else if want == 429 {
					wantProblem(t, a, 429, "flow_rps", "rps_per_flow")
				}
			}
		})
	}
}

// Bodies that come slowly, of whatever kind, take neither slot nor token.
func TestSlowBodiesTakeNoSlot(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.Inflight = 1; o.Limits.RPS = 1 }, withPost(newPost(mbox.Options{})))
	for _, begun := range []string{
		"PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
		"PUT /put HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f\x8b",
		"POST /mbox/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
		"GET /o HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
	} {
		r.dial().say(begun)
	}
	for r.door.Inflight() < 5 {
		runtime.Gosched()
	}
	if s := r.door.Admission(); s.Inflight != 0 {
		t.Errorf("%+v", s)
	}
	if a := r.ask("PUT", "/put", strings.NewReader("honest")); a.status != 201 {
		t.Errorf("an honest put: %d %s", a.status, a.body)
	}
}

// A stream gives its slot back between two slices.
func TestStreamsShareSlots(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.Inflight = 1 })
	body, send := io.Pipe()
	done := make(chan answer, 1)
	go func() { done <- r.ask("PUT", "/put", body) }()
	slice := text(64 << 10)
	for range 3 {
		if _, err := io.WriteString(send, slice); err != nil {
			t.Fatal(err)
		}
		if a := r.ask("PUT", "/put", strings.NewReader("between two slices")); a.status > 201 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	_ = send.Close()
	if a := <-done; a.status != 201 {
		t.Errorf("the stream: %d %s", a.status, a.body)
	}
	if s := r.door.Admission(); s.Inflight+s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

// A reader that stops reading holds no slot.
func TestSlowReadersTakeNoSlot(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.Inflight = 1 })
	path := "/o/" + r.keep(text(32<<20)).String()
	for range 3 {
		w := r.dial()
		w.say("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := w.r.ReadString('\n'); err != nil { // it has begun
			t.Fatal(err)
		}
	}
	for s := r.door.Admission(); s.Inflight > 0 || s.Parked < 3; s = r.door.Admission() {
		runtime.Gosched()
	}
	if a := r.ask("PUT", "/put", strings.NewReader("honest")); a.status != 201 {
		t.Errorf("an honest put: %d %s", a.status, a.body)
	}
}

// A crowd of slow clients, more than there are connections, and honest ones among
// them: those are served.
func TestCrowdOfSlowClients(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Limits.MaxConns = 64 })
	large := r.keep(text(8 << 20)).String()
	begun := []string{
		"",
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: y",
		"PUT /put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nhalf",
		"PUT /put HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"GET /o/" + large + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	}
	served := 0
	for i := range 300 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if kind := i % 5; kind != 4 || i < 100 { // twenty readers are stalled; more would fill the cap for a second
			_, _ = io.WriteString(c, begun[kind]) // it may have had to make room
		}
		if i%10 == 9 {
			w := r.dial()
			w.say(fmt.Sprintf("PUT /put HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhonest%03d", i))
			if a := w.hear("PUT"); a.status == 201 {
				served++
			}
		}
	}
	if served < 27 {
		t.Errorf("%d of 30 honest puts were served", served)
	}
	if n := r.door.Conns(); n > 64+128 {
		t.Errorf("%d connections", n)
	}
}
