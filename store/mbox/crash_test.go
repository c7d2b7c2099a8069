package mbox_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"micronode/store/mbox"
)

// errHook is what the hooks of these tests fall with.
var errHook = errors.New("the hook fell")

// fragile is a queue whose hooks fall when fuse has burnt down, in the middle
// of a call; its owner then rebuilds it, as after a restart.
type fragile struct {
	q     *mbox.Queue
	o     mbox.Options
	now   mbox.Now
	fuse  int                       // hooks until one falls; 0: never
	owed  map[mbox.ID]bool          // accepted, and no ack was tried
	valid map[mbox.ID]mbox.Receipt  // leases that run
	until map[mbox.ID]time.Duration // and their ends
	holds [2]*mbox.Holder
}

func newFragile() *fragile {
	f := &fragile{
		owed: map[mbox.ID]bool{}, valid: map[mbox.ID]mbox.Receipt{}, until: map[mbox.ID]time.Duration{},
		holds: [2]*mbox.Holder{{Window: 2}, {Window: 5}},
		now:   mbox.Now{Wall: time.Unix(1e9, 0)},
	}
	fall := func() {
		if f.fuse--; f.fuse == 0 {
			panic(errHook)
		}
	}
	f.o = mbox.Options{
		Capacity: 12, MaxAttempts: 2, Bytes: mbox.NewBudget(1 << 20), Inflight: mbox.NewBudget(6),
		OnReady: func(string) { fall() }, OnDead: func(mbox.DeadLetter) { fall() }, OnRoom: func(*mbox.Holder) { fall() },
	}
	f.q = mbox.New(f.o)
	return f
}

// try makes a call and says whether it came back.
func (f *fragile) try(call func()) (back bool) {
	defer func() {
		f.fuse = 0
		if r := recover(); r != nil {
			if r != any(errHook) {
				panic(r)
			}
			f.q.Rebuild(f.now)
		}
	}()
	call()
	return true
}

func (f *fragile) send(t *rapid.T) {
	m := mbox.Message{Topic: rapid.SampledFrom(topics).Draw(t, "topic"), Payload: payloads[2]}
	m.Key = rapid.SampledFrom([]string{"", "", "k"}).Draw(t, "key")
	m.Delay = rapid.SampledFrom([]time.Duration{0, 0, time.Second}).Draw(t, "delay")
	var sent mbox.Sent
	var err error
	if f.try(func() { sent, err = f.q.Send(f.now, m) }) && err == nil && !sent.Duplicate {
		f.owed[sent.ID] = true
	}
}

func (f *fragile) recv(t *rapid.T) {
	w := mbox.Want{Topic: rapid.SampledFrom(topics).Draw(t, "topic"), Max: 3, Holder: rapid.SampledFrom(f.holds[:]).Draw(t, "holder")}
	var got []mbox.Delivery
	f.try(func() { got, _ = f.q.Recv(f.now, w) })
	for _, d := range got {
		if end, ok := f.until[d.ID]; ok && end > f.now.Mono {
			t.Fatalf("%v is handed out again %v before its lease ends", d.ID, end-f.now.Mono)
		}
		f.valid[d.ID], f.until[d.ID] = d.Receipt, f.now.Mono+5*time.Second
	}
}

func (f *fragile) settle(t *rapid.T) {
	var ids []mbox.ID
	for id := range f.valid {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		t.SkipNow()
	}
	id := ids[0]
	for _, other := range ids {
		if other.String() < id.String() {
			id = other // the map has no order, and a history must repeat
		}
	}
	verdict := rapid.SampledFrom([]mbox.Verdict{mbox.Ack, mbox.Nack, mbox.Release}).Draw(t, "verdict")
	var err error
	back := f.try(func() { _, err = f.q.Settle(f.now, mbox.Settlement{Verdict: verdict, Receipt: f.valid[id]}) })
	if alive := f.until[id] > f.now.Mono; back && alive != (err == nil) {
		t.Fatalf("Settle(%v) with the lease alive %v: %v", id, alive, err)
	}
	if !back && verdict == mbox.Ack || err == nil && verdict == mbox.Ack {
		delete(f.owed, id)
	}
	// When a hook fell, the verdict may have been carried out or not: the
	// receipt is tried once more later, which must do no harm.
	if _, err := f.q.Settle(f.now, mbox.Settlement{Verdict: mbox.Extend, Receipt: f.valid[id]}); err == nil {
		f.until[id] = f.now.Mono + 5*time.Second
		return
	}
	delete(f.valid, id)
	delete(f.until, id)
}

func (f *fragile) pass(t *rapid.T) {
	f.now.Mono += rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 5 * time.Second, time.Minute}).Draw(t, "time")
	f.try(func() { f.q.Advance(f.now) })
}

func (f *fragile) check(t *rapid.T) {
	if err := f.q.Check(); err != nil {
		t.Fatal(err)
	}
	s := f.q.Stats()
	live := s.Ready + s.Delayed + s.Leased + s.Dead
	if int(s.Enqueued-s.Acked-s.Purged) != live {
		t.Fatalf("%+v: what went in is not what went out and what is there", s)
	}
	there := map[mbox.ID]bool{}
	for _, topic := range topics {
		for _, w := range f.q.Peek(f.now, topic, 0) {
			there[w.ID] = true
		}
		for _, d := range f.q.Dead(topic, mbox.ID{}, 0) {
			there[d.ID] = true
		}
	}
	if len(there) != live {
		t.Fatalf("%d messages seen, %d counted", len(there), live)
	}
	for id := range f.owed {
		if !there[id] {
			t.Fatalf("%v was accepted and is lost", id)
		}
	}
	if used := f.o.Inflight.Used(); used != int64(s.Leased) || f.o.Bytes.Used() != s.Bytes {
		t.Fatalf("budgets: %d leases, %d bytes; %+v", used, f.o.Bytes.Used(), s)
	}
}

// TestCrash: an owner that falls in the middle of any call, at any hook, loses
// no message, and no lease is given twice before its end.
func TestCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFragile()
		falling := func(step func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				f.fuse = rapid.IntRange(0, 3).Draw(t, "fuse")
				step(t)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":     f.check,
			"send": falling(f.send), "send more": falling(f.send), "recv": falling(f.recv), "settle": falling(f.settle), "pass": falling(f.pass),
			"reprocess": falling(func(t *rapid.T) {
				topic := rapid.SampledFrom(topics).Draw(t, "topic")
				f.try(func() { _, _ = f.q.Reprocess(f.now, topic, 0, mbox.ID{}) })
			}),
		})
	})
}

// TestCheckSees spoils each part of the books: Check notices, Rebuild repairs.
func TestCheckSees(t *testing.T) {
	for damage := range mbox.Damages {
		holder := &mbox.Holder{Window: 3}
		q := mbox.New(mbox.Options{Bytes: mbox.NewBudget(1 << 20), Inflight: mbox.NewBudget(10)})
		now := mbox.Now{Wall: time.Unix(1e9, 0)}
		for i, delay := range []time.Duration{0, 0, 0, time.Hour} {
			if _, err := q.Send(now, mbox.Message{Topic: "a", Key: string(rune('a' + i)), Delay: delay}); err != nil {
				t.Fatal(err)
			}
		}
		if d, err := q.Recv(now, mbox.Want{Topic: "a", Max: 2, Holder: holder}); err != nil || len(d) != 2 {
			t.Fatal(d, err)
		}
		if err := q.Check(); err != nil {
			t.Fatal(err)
		}
		before := q.Stats()
		if !q.Wreck(damage) {
			t.Errorf("damage %d: nothing to spoil", damage)
		}
		if err := q.Check(); !errors.Is(err, mbox.ErrCorrupted) {
			t.Errorf("damage %d: Check says %v", damage, err)
		}
		q.Rebuild(now)
		if err := q.Check(); err != nil || q.Stats() != before || holder.Room() != 1 {
			t.Errorf("damage %d: after Rebuild %v, %+v, room %d", damage, err, q.Stats(), holder.Room())
		}
	}
}
