package actors_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
)

// publish puts an event of the test's own on the bus.
func (r *rig) publish(topic, kind string, n int) {
	r.node.Bus().Publish(kernel.Event{Topic: topic, Kind: kind, Service: "drill", CorrID: "corr-1", Data: map[string]int{"n": n}})
}

// tail reads events over HTTP until there are so many.
func (r *rig) tail(c *httpapi.Client, o httpapi.TailOptions, many int) (all []httpapi.Event) {
	r.Helper()
	for e, err := range c.Tail(r.ctx(), o) {
		if err != nil {
			r.Fatalf("%d of %d events: %v", len(all), many, err)
		}
		if all = append(all, e); len(all) == many {
			break
		}
	}
	return all
}

// follow opens a tail and returns its lines as they come.
func (r *rig) follow(query, accept string) *bufio.Scanner {
	r.Helper()
	req, err := http.NewRequestWithContext(r.ctx(), http.MethodGet, r.base+"/api/v1/bus/tail"+query, nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != accept {
		r.Fatalf("tail: %d %q", res.StatusCode, got)
	}
	return bufio.NewScanner(res.Body)
}

// wire is an event as the contract writes it.
func wire(t *testing.T, e kernel.Event) string {
	data, err := json.Marshal(e.Data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(httpapi.Event{Seq: e.Seq, TS: e.TS, Topic: e.Topic, Kind: e.Kind, Service: e.Service, CorrID: e.CorrID, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A live tail shows each event as one line of JSON that is the event on the
// bus, of the kind asked for.
func TestTailNDJSON(t *testing.T) {
	t.Parallel()
	r := start(t)
	lines := r.follow("?kind=Drill", httpapi.TypeNDJSON) // its headers are sent once it is subscribed
	for i := range 3 {
		r.publish("micronode.drill", "Other", i)
		r.publish("micronode.drill", "Drill", i)
		want := wire(t, r.event("Drill", "drill"))
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("line %q, want %q: %v", lines.Text(), want, lines.Err())
		}
	}
}

// The same as server-sent events, which resume after Last-Event-ID.
func TestTailSSE(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.publish("micronode.drill", "Drill", 0)
	first := r.event("Drill", "drill")
	lines := r.follow("?kind=Drill&since="+strconv.FormatUint(first.Seq, 10), httpapi.TypeSSE)
	r.publish("micronode.drill", "Drill", 1)
	e := r.event("Drill", "drill")
	for _, want := range []string{fmt.Sprintf("id: %d", e.Seq), "event: Drill", "data: " + wire(t, e), ""} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("line %q, want %q: %v", lines.Text(), want, lines.Err())
		}
	}
}

// since begins with history, by age or after a number; topic takes in all
// below it.
func TestTailHistory(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.event(kernel.KindHealth, "health") // the last event of the start
	for i := range 4 {
		r.publish("micronode.drill", "Drill", i)
	}
	r.publish("micronode.drillx", "Drill", 4)
	r.publish("micronode.store", "Drill", 5)
	first := r.event("Drill", "drill").Seq
	after := strconv.FormatUint(first+1, 10)
	for _, tt := range []struct {
		name  string
		with  httpapi.TailOptions
		first uint64
		many  int
	}{
		{"by age", httpapi.TailOptions{Since: "1h", Kind: "Drill"}, first, 6},
		{"after a number", httpapi.TailOptions{Since: after, Kind: "Drill"}, first + 2, 4},
		{"from the beginning", httpapi.TailOptions{Since: "0"}, 1, int(first)},
		{"all topics", httpapi.TailOptions{Topic: "micronode", Since: after}, first + 2, 4},
		{"one topic", httpapi.TailOptions{Topic: "micronode.store", Since: "1h"}, first + 5, 1},
		{"a number of an earlier process", httpapi.TailOptions{Since: "999999", Kind: "Drill"}, first, 6},
	} {
		for name, c := range map[string]*httpapi.Client{"TCP": r.data, "socket": r.op} {
			all := r.tail(c, tt.with, tt.many)
			if all[0].Seq != tt.first || all[0].Lagged != 0 {
				t.Errorf("%s on %s: begins with %+v, want seq %d", tt.name, name, all[0], tt.first)
			}
			for i := 1; i < len(all); i++ {
				if all[i].Seq <= all[i-1].Seq || all[i].TS.Before(all[i-1].TS) {
					t.Errorf("%s on %s: %+v after %+v", tt.name, name, all[i], all[i-1])
				}
			}
		}
	}
	if s, err := r.op.Status(r.ctx()); err != nil || s.Bus.Seq < first+5 {
		t.Errorf("status %+v, %v", s.Bus, err)
	}
}

// A tail that can not hold what it asked for is told how much it lost, and the
// node counts it.
func TestTailLag(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *config.Config, _ *actors.Options) { c.Bus.Ring, c.Bus.History = 16, 64 })
	r.event(kernel.KindHealth, "health") // the last event of the start
	for i := range 200 {
		r.publish("micronode.drill", "Drill", i)
	}
	last := r.node.Bus().Seq()
	before := r.node.Bus().Lagged()
	all := r.tail(r.op, httpapi.TailOptions{Since: "1h", Kind: "Drill"}, 16)
	if all[0].Lagged != 48 || all[0].Seq != last-15 || all[1].Lagged != 0 {
		t.Errorf("begins with %+v, %+v, want seq %d and 48 lost of 64", all[0], all[1], last-15)
	}
	if got := r.node.Bus().Lagged() - before; got != 48 {
		t.Errorf("%d lost in all", got)
	}
	if got := r.metric("bus_lagged_total"); got < 48 {
		t.Errorf("bus_lagged_total %v", got)
	}
	if s, err := r.op.Status(r.ctx()); err != nil || s.Bus.Lagged < 48 {
		t.Errorf("status %+v, %v", s.Bus, err)
	}
}

// A tail on the operator socket is told of the stop to the end and counts
// as no request that was cut.
func TestTailOfTheStop(t *testing.T) {
	t.Parallel()
	r := start(t, func(c *config.Config, _ *actors.Options) { c.DrainGrace = time.Millisecond })
	events := make(chan httpapi.Event, 256)
	go func() {
		defer close(events)
		for e, err := range r.op.Tail(r.ctx(), httpapi.TailOptions{Since: "1h"}) {
			if errors.Is(err, httpapi.ErrConnLost) { // the connection ends with the node, after its last line
				return
			}
			if err != nil {
				t.Errorf("tail: %v", err)
				return
			}
			events <- e
		}
	}()
	<-events // it has begun
	r.stop()
	var kinds, stopping []string
	for e := range events {
		switch {
		case e.Kind == "DrainStarted", e.Kind == kernel.KindShutdown:
			kinds = append(kinds, e.Kind)
		case e.Kind == kernel.KindHealth && strings.Contains(string(e.Data), `"stopping"`):
			stopping = append(stopping, e.Service)
		}
	}
	if got := strings.Join(kinds, " "); got != "DrainStarted Shutdown" {
		t.Errorf("the tail was told %q", got)
	}
	if got := strings.Join(stopping, " "); got != "health ingress mailbox-7 mailbox-6 mailbox-5 mailbox-4 mailbox-3 mailbox-2 mailbox-1 mailbox-0 mailbox storage keys policy config" {
		t.Errorf("stopped in the order %q", got)
	}
}
