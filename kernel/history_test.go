package kernel_test

import (
	"cmp"
	"fmt"
	"runtime"
	"testing"
	"time"

	"micronode/kernel"
)

// A bound that makes no sense is the default.
func TestBusWithoutSensibleBounds(t *testing.T) {
	b := newBus(-1, -1)
	s := b.Subscribe(kernel.Query{})
	publish(b, "n", "K", kernel.DefaultRing+1)
	if seqs, lag := drain(t, s); len(seqs) != kernel.DefaultRing || lag != 1 {
		t.Errorf("%d events and a lag of %d", len(seqs), lag)
	}
	if seqs, _ := drain(t, b.Subscribe(kernel.Query{Since: time.Unix(0, 1)})); len(seqs) != kernel.DefaultRing {
		t.Errorf("%d events of the history", len(seqs))
	}
}

// What has fallen out of the history counts as lost only for those who would
// have got it: 0 exactly when nothing was lost, and never more than there were.
func TestReplayLagIsOfTheQuery(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(1e9+s, 0) }
	for name, c := range map[string]struct {
		q   kernel.Query
		lag uint64
	}{
		"all of them":                     {kernel.Query{After: 1}, 9},
		"all but the first":               {kernel.Query{After: 2}, 8},
		"all of them from later on":       {kernel.Query{After: 8}, 2},
		"none is gone":                    {kernel.Query{After: 10}, 0},
		"a topic of which none is gone":   {kernel.Query{Topic: "n.ready", After: 1}, 0},
		"a topic, and it was seen":        {kernel.Query{Topic: "n.crash", After: 1}, 0},
		"a topic of many":                 {kernel.Query{Topic: "n.health", After: 1}, 9},
		"a topic of many from later on":   {kernel.Query{Topic: "n.health", After: 7}, 3},
		"a topic and what is below":       {kernel.Query{Topic: "n", After: 1}, 9},
		"a topic that nobody has":         {kernel.Query{Topic: "m", After: 1}, 0},
		"a kind of many":                  {kernel.Query{Kind: "H", After: 1}, 7},
		"a kind of which two are gone":    {kernel.Query{Kind: "X", After: 1}, 2},
		"a kind of which one is gone":     {kernel.Query{Kind: "X", After: 6}, 1},
		"a kind, and it was seen":         {kernel.Query{Kind: "X", After: 7}, 0},
		"a kind of which none is gone":    {kernel.Query{Kind: "R", After: 1}, 0},
		"since a time that is not gone":   {kernel.Query{After: 1, Since: at(12)}, 0},
		"since a time, within the query":  {kernel.Query{After: 1, Since: at(3)}, 9},
		"a number of an older bus":        {kernel.Query{After: 99}, 0},
		"everything there is, no number":  {kernel.Query{Since: at(0)}, 0},
		"only from now on":                {kernel.Query{}, 0},
		"a topic and kind, none is gone":  {kernel.Query{Topic: "n.health", Kind: "C", After: 1}, 0},
		"a topic and kind, one is gone":   {kernel.Query{Topic: "n.health", Kind: "X", After: 6}, 1},
		"after one that the history ends": {kernel.Query{After: 14}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBus(16, 4)
			publish(b, "n.crash", "C", 1)  // 1
			publish(b, "n.health", "H", 4) // 2 to 5
			publish(b, "n.health", "X", 2) // 6 and 7
			publish(b, "n.health", "H", 3) // 8 to 10, the last that is gone
			publish(b, "n.ready", "R", 4)  // 11 to 14
			if lag := nextLag(t, b, c.q); lag != c.lag {
				t.Errorf("lag %d, want %d", lag, c.lag)
			}
		})
	}
}

// nextLag is what a new subscriber has lost when it has read all that the query
// selects, with one event more to tell it by.
func nextLag(t *testing.T, b *kernel.Bus, q kernel.Query) uint64 {
	t.Helper()
	s := b.Subscribe(q)
	b.Publish(kernel.Event{Topic: cmp.Or(q.Topic, "any"), Kind: cmp.Or(q.Kind, "any")})
	_, lag := drain(t, s)
	return lag
}

// Subjects without number do not make the memory of them grow without bound,
// nor make a loss look like none.
func TestReplayLagWithManyTopics(t *testing.T) {
	b := newBus(16, 1)
	for i := range 1000 {
		b.Publish(kernel.Event{Topic: fmt.Sprintf("n.t%d", i), Kind: "K"})
	}
	if nextLag(t, b, kernel.Query{Topic: "n.t900", After: 1}) == 0 {
		t.Error("an event of the topic is lost and nobody says so")
	}
	if nextLag(t, b, kernel.Query{Topic: "m", After: 900}) == 0 {
		t.Error("beyond the bound nobody can be sure to have lost nothing")
	}
	if lag := nextLag(t, b, kernel.Query{After: 1}); lag != 1000 {
		t.Errorf("lag %d of all topics, want 1000", lag)
	}
}

// A handler that ends its goroutine costs one event like one that panics.
func TestHandlerGoexitIsOneFaultAndNoMore(t *testing.T) {
	b := newBus(16, 16)
	var got []string
	stop := b.Subscribe(kernel.Query{}).Handle(func(e kernel.Event, _ uint64) {
		got = append(got, e.Kind)
		runtime.Goexit()
	})
	publish(b, "n", "A", 2)
	faults := b.Subscribe(kernel.Query{Kind: kernel.KindFault, Since: time.Unix(0, 0)})
	defer faults.Close()
	for range 2 {
		if e, _, err := faults.Next(t.Context()); err != nil || e.Data.(kernel.FaultData).What != "event handler ended by runtime.Goexit on A" {
			t.Fatal(e, err)
		}
	}
	stop()
	if len(got) != 4 { // A A Fault Fault, in some order, and no fault about a fault
		t.Errorf("handled %v", got)
	}
}
