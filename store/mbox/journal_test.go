package mbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"micronode/store"
	"micronode/store/mbox"
)

// disk is a naive journal.
type disk struct {
	rows map[mbox.ID]mbox.Row
	keys map[string]mbox.KeyRow
}

func (d *disk) write(t *rapid.T, c mbox.Changes) {
	for _, r := range c.Sent {
		d.rows[r.ID] = r
	}
	for _, r := range c.Moved {
		if _, there := d.rows[r.ID]; !there {
			t.Fatalf("message %v moved and was never sent", r.ID)
		}
		d.rows[r.ID] = r
	}
	for _, id := range c.Gone {
		delete(d.rows, id)
	}
	for _, k := range c.Keys {
		d.keys[k.Topic+"\x00"+k.Key] = k
	}
	for _, k := range c.KeysGone {
		delete(d.keys, k.Topic+"\x00"+k.Key)
	}
}

func (d *disk) all() (rows []mbox.Row, keys []mbox.KeyRow) {
	for _, r := range d.rows {
		rows = append(rows, r)
	}
	for _, k := range d.keys {
		keys = append(keys, k)
	}
	return rows, keys
}

// Whatever was done, a queue restored from the changes is the queue: the same messages in the same order and state, the same
// dead letters, keys that lead to the same ids, receipts that are good.
func TestRestore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := mbox.Options{Journal: true, MaxAttempts: 3, DedupWindow: time.Minute, Seed: [32]byte{7}, Inflight: mbox.NewBudget(100), Bytes: mbox.NewBudget(1 << 20)}
		q, d := mbox.New(o), &disk{map[mbox.ID]mbox.Row{}, map[string]mbox.KeyRow{}}
		now := mbox.Now{Mono: time.Hour, Wall: time.Unix(2e9, 0)}
		var held []mbox.Receipt
		sent := map[string]mbox.ID{}
		topic := func() string { return fmt.Sprint("t", rapid.IntRange(0, 2).Draw(t, "topic")) }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0, 1, 2:
				m := mbox.Message{Topic: topic(), Payload: []byte("p"), Hash: store.Sum([]byte("p")), Attrs: map[string]string{"a": "b"}}
				if rapid.Bool().Draw(t, "key") {
					m.Key = fmt.Sprint("k", rapid.IntRange(0, 5).Draw(t, "k"))
				}
				if rapid.Bool().Draw(t, "delayed") {
					m.Delay = 10 * time.Second
				}
				if s, err := q.Send(now, m); err == nil && m.Key != "" {
					sent[m.Topic+m.Key] = s.ID
				}
			case 3, 4:
				got, _ := q.Recv(now, mbox.Want{Topic: topic(), Max: 2, Visibility: 20 * time.Second})
				for _, g := range got {
					held = append(held, g.Receipt)
				}
			case 5, 6:
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "receipt")
					_, _ = q.Settle(now, mbox.Settlement{Verdict: mbox.Verdict(rapid.IntRange(0, 3).Draw(t, "verdict")), Receipt: held[i]})
				}
			case 7:
				step := time.Duration(rapid.IntRange(1, 30).Draw(t, "seconds")) * time.Second
				now.Mono, now.Wall = now.Mono+step, now.Wall.Add(step)
				q.Advance(now)
			case 8:
				_, _ = q.Reprocess(now, topic(), 1, mbox.ID{})
			}
			if rapid.Bool().Draw(t, "write") {
				d.write(t, q.Changes(now))
			}
		}
		d.write(t, q.Changes(now))
		o.Inflight, o.Bytes = mbox.NewBudget(100), mbox.NewBudget(1<<20)
		again := mbox.New(o)
		later := mbox.Now{Mono: 5 * time.Hour, Wall: now.Wall} // another process: another monotonic clock
		rows, keys := d.all()
		again.Restore(later, rows, keys)
		if err := again.Check(); err != nil {
			t.Fatal(err)
		}
		o.MaxAttempts, o.Capacity = 1, 1 // the operator has lowered them meanwhile
		lower := mbox.New(o)
		lower.Restore(later, rows, keys)
		if err := lower.Check(); err != nil {
			t.Fatalf("under lower bounds: %v", err)
		}
		lower.Advance(mbox.Now{Mono: 30 * time.Hour, Wall: now.Wall})
		if err := lower.Check(); err != nil {
			t.Fatalf("under lower bounds, later: %v", err)
		}
		lower.Abandon()
		same := func(what string, a, b any) {
			t.Helper()
			if diff := cmp.Diff(a, b, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Microsecond)); diff != "" {
				t.Fatalf("%s (-was +restored):\n%s", what, diff)
			}
		}
		for i := range 3 {
			name := fmt.Sprint("t", i)
			same("messages", q.Peek(now, name, 0), again.Peek(later, name, 0))
			same("dead letters", q.Dead(name, mbox.ID{}, 0), again.Dead(name, mbox.ID{}, 0))
		}
		was, is := q.Stats(), again.Stats()
		same("depths", []int{was.Ready, was.Delayed, was.Leased, was.Dead, was.Topics, was.Keys}, []int{is.Ready, is.Delayed, is.Leased, is.Dead, is.Topics, is.Keys})
		same("bytes", was.Bytes, is.Bytes)
		for _, r := range held {
			_, a := q.Settle(now, mbox.Settlement{Receipt: r})
			_, b := again.Settle(later, mbox.Settlement{Receipt: r})
			if (a == nil) != (b == nil) {
				t.Fatalf("receipt %v: %v, restored %v", r, a, b)
			}
		}
	})
}
