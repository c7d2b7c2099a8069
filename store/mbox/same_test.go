package mbox_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"micronode/store/mbox"
)

func (r *row) delivery() mbox.Delivery {
	return mbox.Delivery{
		ID: r.id, Topic: r.m.Topic, Payload: r.m.Payload, Hash: r.m.Hash, Attrs: r.m.Attrs, Key: r.m.Key,
		CorrID: r.m.CorrID, Sent: r.sent.Wall, Attempt: r.attempt,
	}
}

func sameDelivery(a, b mbox.Delivery) bool {
	return a.ID == b.ID && a.Topic == b.Topic && string(a.Payload) == string(b.Payload) && a.Hash == b.Hash && maps.Equal(a.Attrs, b.Attrs) &&
		a.Key == b.Key && a.CorrID == b.CorrID && a.Sent.Equal(b.Sent) && a.Attempt == b.Attempt && a.Receipt == b.Receipt && a.Deadline.Equal(b.Deadline)
}

// same compares all that can be seen of the queue with the model.
func (h *history) same(t *rapid.T) {
	if err := h.q.Check(); err != nil {
		t.Fatal(err)
	}
	if h.n.fault != "" || len(h.n.delays) > 0 {
		t.Fatalf("backoff: %s, %d drawn for nothing", h.n.fault, len(h.n.delays))
	}
	if !slices.Equal(h.events, h.n.events) {
		t.Fatalf("hooks heard %v, want %v", h.events, h.n.events)
	}
	h.events, h.n.events = h.events[:0], h.n.events[:0]
	h.sameSums(t)
	h.sameTopics(t)
	for _, topic := range topics {
		h.samePeek(t, topic)
		h.sameDead(t, topic)
	}
}

func (h *history) sameSums(t *rapid.T) {
	want := h.n.stats
	names := map[string]bool{}
	for _, r := range h.n.rows {
		names[r.m.Topic] = true
	}
	leased := len(h.n.in("", "leased"))
	want.Ready, want.Delayed, want.Leased, want.Dead = len(h.n.in("", "ready")), len(h.n.in("", "delayed")), leased, len(h.n.in("", "dead"))
	want.Topics, want.Keys, want.Bytes = len(names), len(h.n.keys), h.n.bytes()
	if got := h.q.Stats(); got != want {
		t.Fatalf("Stats\n%+v, want\n%+v", got, want)
	}
	if used := h.n.o.Bytes.Used(); used != want.Bytes+h.n.others.bytes {
		t.Fatalf("%d bytes of the budget used, want %d", used, want.Bytes+h.n.others.bytes)
	}
	if used := h.n.o.Inflight.Used(); used != int64(leased)+h.n.others.leases {
		t.Fatalf("%d leases of the budget used, want %d", used, int64(leased)+h.n.others.leases)
	}
	for _, holder := range h.holders[1:] {
		if room := holder.Window - h.n.held(holder); holder.Room() != room {
			t.Fatalf("a holder has room for %d, want %d", holder.Room(), room)
		}
	}
	var due time.Duration
	timed := h.n.timed("")
	if len(timed) > 0 {
		due = timed[0].due
	}
	if k := len(h.n.keys); k > 0 && (len(timed) == 0 || h.n.keys[k-1].until < due) {
		due = h.n.keys[k-1].until
	}
	if got, ok := h.q.NextDue(); got != due || ok != (len(timed)+len(h.n.keys) > 0) {
		t.Fatalf("NextDue = %v, %v; want %v", got, ok, due)
	}
}

func (h *history) sameTopics(t *rapid.T) {
	got := h.q.Topics(h.now)
	slices.SortFunc(got, func(a, b mbox.Topic) int { return cmp.Compare(a.Name, b.Name) })
	var want []mbox.Topic
	for _, name := range topics {
		line := h.n.in(name, "ready")
		w := mbox.Topic{Name: name, Ready: len(line), Delayed: len(h.n.in(name, "delayed")), Leased: len(h.n.in(name, "leased")), Dead: len(h.n.in(name, "dead"))}
		if got := h.q.Ready(name); got != w.Ready {
			t.Fatalf("Ready(%s) = %d, want %d", name, got, w.Ready)
		}
		if w.Ready > 0 {
			w.Oldest = h.now.Mono - line[0].sent.Mono
		}
		for _, r := range h.n.in(name, "ready", "delayed", "leased", "dead") {
			w.Bytes += int64(len(r.m.Payload))
		}
		if w.Ready+w.Delayed+w.Leased+w.Dead > 0 {
			want = append(want, w)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("Topics\n%+v, want\n%+v", got, want)
	}
}

func (h *history) samePeek(t *rapid.T, topic string) {
	rows := append(h.n.in(topic, "ready"), h.n.timed(topic)...)
	got := h.q.Peek(h.now, topic, 0)
	if len(got) != len(rows) {
		t.Fatalf("Peek(%s): %d messages, want %d", topic, len(got), len(rows))
	}
	for i, r := range rows {
		w := mbox.Waiting{Delivery: r.delivery(), State: r.state, LastError: r.lastErr}
		if r.state != "ready" {
			w.Due = max(0, r.due-h.now.Mono)
		}
		if r.state == "leased" {
			w.Deadline = h.now.Wall.Add(r.due - h.now.Mono)
		}
		if g := got[i]; !sameDelivery(g.Delivery, w.Delivery) || g.State != w.State || g.LastError != w.LastError || g.Due != w.Due {
			t.Fatalf("Peek(%s): message %d is\n%+v, want\n%+v", topic, i, g, w)
		}
	}
	if len(rows) > 1 {
		first := h.q.Peek(h.now, topic, len(rows)-1)
		if len(first) != len(rows)-1 || first[len(first)-1].ID != rows[len(rows)-2].id {
			t.Fatalf("Peek(%s, %d) is not the beginning of Peek", topic, len(rows)-1)
		}
	}
}

func (h *history) sameDead(t *rapid.T, topic string) {
	rows := h.n.in(topic, "dead")
	got := h.q.Dead(topic, mbox.ID{}, 0)
	if len(got) != len(rows) {
		t.Fatalf("Dead(%s): %d letters, want %d", topic, len(got), len(rows))
	}
	for i, r := range rows {
		g := got[i]
		if !sameDelivery(g.Delivery, r.delivery()) || g.Reason != "max_attempts" || g.LastError != r.lastErr || !g.Died.Equal(r.diedAt) {
			t.Fatalf("Dead(%s): letter %d is\n%+v, want\n%+v", topic, i, g, r)
		}
		if one, err := h.q.DeadOne(topic, r.id); err != nil || one.ID != r.id {
			t.Fatalf("DeadOne(%s, %v) = %v, %v", topic, r.id, one.ID, err)
		}
		if rest := h.q.Dead(topic, r.id, 1); i+1 < len(rows) && (len(rest) != 1 || rest[0].ID != rows[i+1].id) || i+1 == len(rows) && len(rest) > 0 {
			t.Fatalf("Dead(%s) after letter %d: %v", topic, i, rest)
		}
	}
}
