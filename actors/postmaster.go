package actors

import (
	"fmt"

	"micronode/actors/mailbox"
	"micronode/kernel"
	"micronode/store/mbox"
)

// A redelivery storm: this many redeliveries, and more than this share of all
// deliveries, within the window. Consumers fail or are too slow for their leases.
const (
	stormWindow = 10 // looks, one a second
	stormLeast  = 100
	stormShare  = 0.5
)

// mailboxChecks are the questions of the actor "mailbox", which watches over
// the shards.
func (n *Node) mailboxChecks() []check {
	storm := redeliveries{}
	return []check{
		{cause: "mailbox_headroom", look: func() string { return headroom(n.mail.Load(), n.cfg.Mailbox.ShardCapacity) }},
		{cause: "mailbox_redelivery", look: func() string {
			again, all := storm.look(n.mail.Load().Stats)
			if again < stormLeast || float64(again) <= stormShare*float64(all) {
				storm.told = false
				return ""
			}
			if !storm.told {
				storm.told = true
				n.bus.Publish(kernel.Event{Topic: topic("mailbox"), Kind: "RedeliveryStorm", Service: mailbox.ActorName, Data: redeliveryData{
					Redelivered: again, Delivered: all, WindowMS: (stormWindow * checkEvery).Milliseconds(),
				}})
			}
			return fmt.Sprintf("%d of %d deliveries in the last %d s were not the first; look why consumers fail: ronctl mbox dlq list TOPIC", again, all, stormWindow)
		}},
	}
}

type redeliveryData struct {
	Redelivered uint64 `json:"redelivered"`
	Delivered   uint64 `json:"delivered"`
	WindowMS    int64  `json:"window_ms"`
}

// headroom says which bound of the mailbox is nearly reached.
func headroom(l mailbox.Load, capacity int) string {
	switch {
	case float64(l.Fullest) >= headroomShare*float64(capacity):
		return fmt.Sprintf("the fullest shard holds %d of %d messages; consume, or purge dead letters (ronctl mbox topics), or raise mailbox.shard_capacity", l.Fullest, capacity)
	case float64(l.Bytes) >= headroomShare*float64(l.MaxBytes):
		return fmt.Sprintf("%s of %s used; consume, purge dead letters, or raise mailbox.max_bytes", size(l.Bytes), size(l.MaxBytes))
	case float64(l.Inflight) >= headroomShare*float64(l.MaxInflight):
		return fmt.Sprintf("%d of %d messages are under lease; settle them, or raise mailbox.max_inflight", l.Inflight, l.MaxInflight)
	default:
		return ""
	}
}

// redeliveries counts over the last looks.
type redeliveries struct {
	past [stormWindow]mbox.Stats
	next int
	told bool // the storm that goes on has had its event
}

// look returns how many deliveries there were within the window, and how many of
// them were not the first of their message.
func (r *redeliveries) look(now mbox.Stats) (again, all uint64) {
	then := r.past[r.next]
	r.past[r.next] = now
	r.next = (r.next + 1) % stormWindow
	return now.Redelivered - then.Redelivered, now.Delivered - then.Delivered
}

// mailDied shows dead letters on the bus: one event for each topic of a turn, or
// a mass death would drown everything else.
func (n *Node) mailDied(shard string, letters []mbox.DeadLetter) {
	many, last := map[string]int{}, map[string]mbox.DeadLetter{}
	for _, l := range letters {
		many[l.Topic]++
		last[l.Topic] = l
	}
	for name, l := range last {
		n.bus.Publish(kernel.Event{Topic: topic("mailbox"), Kind: "DlqMoved", Service: shard, CorrID: l.CorrID, Data: dlqData{
			Topic: name, Moved: many[name], MsgID: l.ID.String(), Attempt: l.Attempt, Reason: l.Reason,
		}})
	}
}

// dlqData has no word of the consumer's: those are in the dead letter.
type dlqData struct {
	Topic   string `json:"topic"`
	Moved   int    `json:"moved"`
	MsgID   string `json:"msg_id"` // of the last one
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason"`
}

// mailMended shows that a crash had left a shard's books half-written.
func (n *Node) mailMended(shard string, what error) {
	n.bus.Publish(kernel.Event{Topic: topic("mailbox"), Kind: "MailboxRebuilt", Service: shard, Data: struct {
		What string `json:"what"`
	}{what.Error()}})
}

// mailroom makes the mailbox that the configuration asks for; nil when it is off.
func (n *Node) mailroom() (*mailbox.Mailbox, error) {
	c := n.cfg.Mailbox
	if !c.Enabled {
		return nil, nil
	}
	var journal mailbox.Journal
	if n.disk != nil {
		journal = n.disk
	}
	return mailbox.New(mailbox.Options{
		Journal: journal, Frees: n.frees,
		Shards: c.Shards, MaxBytes: int64(c.MaxBytes), MaxInflight: int64(c.MaxInflight),
		Queue: mbox.Options{
			Capacity: c.ShardCapacity, MaxAttempts: c.MaxAttempts, Visibility: c.Visibility,
			DedupWindow: c.DedupWindow, RequireKey: c.RequireIdempotency,
		},
		Now: n.opt.Now, Mono: n.opt.Mono,
		Plane: func() kernel.Plane { return n.tree.Ledger().Plane(mailbox.ActorName) },
		Died:  n.mailDied, Mended: n.mailMended,
	})
}
