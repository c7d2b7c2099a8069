package kernel_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"micronode/kernel"
)

func newBus(ring, history int) *kernel.Bus {
	now := time.Unix(1e9, 0)
	return kernel.NewBus(kernel.BusOptions{Ring: ring, History: history, Now: func() time.Time { now = now.Add(time.Second); return now }})
}

func publish(b *kernel.Bus, topic, kind string, n int) {
	for range n {
		b.Publish(kernel.Event{Topic: topic, Kind: kind})
	}
}

// drain reads everything that a closed subscription still holds.
func drain(t *testing.T, s *kernel.Sub) (seqs []uint64, lag uint64) {
	t.Helper()
	s.Close()
	for {
		e, l, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return seqs, lag
		}
		if err != nil {
			t.Fatal(err)
		}
		seqs, lag = append(seqs, e.Seq), lag+l
	}
}

func equal(t *testing.T, got []uint64, want ...uint64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("events %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("events %v, want %v", got, want)
		}
	}
}

func TestSlowSubscriberLosesOldestAndIsTold(t *testing.T) {
	b := newBus(4, 8)
	slow, fast := b.Subscribe(kernel.Query{}), b.Subscribe(kernel.Query{})
	publish(b, "n.x", "K", 4)
	fastSeqs := make([]uint64, 0, 7)
	for range 4 {
		e, lag, err := fast.Next(t.Context())
		if err != nil || lag != 0 {
			t.Fatal(e, lag, err)
		}
		fastSeqs = append(fastSeqs, e.Seq)
	}
	publish(b, "n.x", "K", 3)
	seqs, lag := drain(t, fast)
	equal(t, append(fastSeqs, seqs...), 1, 2, 3, 4, 5, 6, 7)
	if lag != 0 {
		t.Errorf("the fast one lags by %d", lag)
	}
	e, lag, _ := slow.Next(t.Context())
	if e.Seq != 4 || lag != 3 {
		t.Errorf("the slow one gets %d after a lag of %d; want 4 after 3", e.Seq, lag)
	}
	seqs, lag = drain(t, slow)
	equal(t, seqs, 5, 6, 7)
	if lag != 0 || b.Lagged() != 3 {
		t.Errorf("lag told twice (%d) or miscounted (%d in all)", lag, b.Lagged())
	}
}

func TestTopicsKindsAndHistory(t *testing.T) {
	b := newBus(16, 4)
	publish(b, "node.crash", "A", 2)  // 1 2, at seconds 1 2
	publish(b, "node.ready", "B", 2)  // 3 4
	publish(b, "nodes.ready", "B", 1) // 5
	publish(b, "node", "A", 1)        // 6; the history holds 3..6
	at := func(s int64) time.Time { return time.Unix(1e9+s, 0) }
	for name, c := range map[string]struct {
		q    kernel.Query
		want []uint64
		lag  uint64
	}{
		"nothing old unless asked":          {kernel.Query{}, nil, 0},
		"since a time, inclusive":           {kernel.Query{Since: at(5)}, []uint64{5, 6}, 0},
		"after a number, with what is lost": {kernel.Query{After: 1}, []uint64{3, 4, 5, 6}, 1},
		"after the newest":                  {kernel.Query{After: 6}, nil, 0},
		"after a number of an older bus":    {kernel.Query{After: 999}, []uint64{3, 4, 5, 6}, 0},
		"a topic and all below, not beside": {kernel.Query{Topic: "node", Since: at(0)}, []uint64{3, 4, 6}, 0},
		"a kind":                            {kernel.Query{Kind: "B", Since: at(0)}, []uint64{3, 4, 5}, 0},
		"topic and kind":                    {kernel.Query{Topic: "node.ready", Kind: "A", Since: at(0)}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			seqs, lag := drain(t, b.Subscribe(c.q))
			equal(t, seqs, c.want...)
			if lag != c.lag {
				t.Errorf("lag %d, want %d", lag, c.lag)
			}
		})
	}
	if n := b.Subscribers(); n != 0 {
		t.Errorf("%d subscriptions left", n)
	}
}

func TestCloseEndsReadersAfterWhatWaits(t *testing.T) {
	b := newBus(4, 4)
	s := b.Subscribe(kernel.Query{})
	publish(b, "n", "K", 1)
	b.Close()
	publish(b, "n", "K", 1)
	if e, _, err := s.Next(t.Context()); err != nil || e.Seq != 1 {
		t.Errorf("got %v, %v; want event 1", e, err)
	}
	if _, _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the close: %v", err)
	}
	late := b.Subscribe(kernel.Query{})
	if _, _, err := late.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("a late subscriber: %v", err)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	b := newBus(4, 4)
	s := b.Subscribe(kernel.Query{})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestHandlerPanicIsOneFaultAndNoMore(t *testing.T) {
	b := newBus(16, 16)
	var got []string
	stop := b.Subscribe(kernel.Query{}).Handle(func(e kernel.Event, _ uint64) {
		got = append(got, e.Kind)
		panic("handler is broken")
	})
	publish(b, "n", "A", 2)
	faults := b.Subscribe(kernel.Query{Kind: kernel.KindFault, Since: time.Unix(0, 0)})
	defer faults.Close()
	for range 2 {
		e, _, err := faults.Next(t.Context())
		if err != nil || e.Data.(kernel.FaultData).Stack == "" {
			t.Fatal(e, err)
		}
	}
	stop()
	if len(got) != 4 { // A A Fault Fault, in some order, and no fault about a fault
		t.Errorf("handled %v", got)
	}
}

// Four publishers, one reader that keeps up and one that does not: every
// number is accounted for, as an event or as lag.
func TestOrderAndAccountsUnderConcurrency(t *testing.T) {
	const publishers, each = 4, 1000
	b := newBus(64, 16)
	count := func(s *kernel.Sub) (seen, lost uint64, err error) {
		var last uint64
		for {
			e, lag, nextErr := s.Next(context.Background())
			if nextErr != nil {
				return seen, lost, err
			}
			if e.Seq != last+lag+1 {
				err = errors.New("a gap that no lag explains")
			}
			last, seen, lost = e.Seq, seen+1, lost+lag
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		s := b.Subscribe(kernel.Query{})
		wg.Go(func() {
			seen, lost, err := count(s)
			if err != nil || seen+lost != publishers*each {
				t.Errorf("seen %d, lost %d: %v", seen, lost, err)
			}
		})
	}
	var pubs sync.WaitGroup
	for range publishers {
		pubs.Go(func() { publish(b, "n", "K", each) })
	}
	pubs.Wait()
	b.Close()
	wg.Wait()
}
