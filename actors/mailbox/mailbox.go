package mailbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mbox"
)

// ActorName is the actor that watches over the mailbox, and the plane. The
// shards are called mailbox-0, mailbox-1 and so on.
const ActorName = "mailbox"

// maxWaiters bounds the receivers that wait at one shard. A connection holds at
// most one, so limits.max_conns is the bound that is met first.
const maxWaiters = 1 << 16

// errStale: the journal has failed, and the shard is to be restored from it.
var errStale = errors.New("mailbox: the journal has failed")

var errTooManyWait = httpapi.Refuse(httpapi.ErrMailboxBusy, "As many receivers as a shard takes wait at it already. Wait for Retry-After, or let fewer consumers share the work.")

// Options describe a mailbox.
type Options struct {
	Shards      int          // 1 to 64
	Queue       mbox.Options // of each shard; Shard, Seed, hooks and budgets are filled in
	MaxBytes    int64        // of all shards together
	MaxInflight int64        // leases, all shards together

	Now   func() time.Time     // wall clock: stamps only
	Mono  func() time.Duration // never goes back; nil: time since New
	Plane func() kernel.Plane  // of the mailbox; read at every call

	Frees func() bool // purges go on though the plane is read-only; nil: they do not

	// Journal makes what is accepted and settled durable before it is answered;
	// nil: RAM only. Call [Mailbox.Restore] before the children start.
	Journal Journal

	// Died is told of messages that moved to the dead-letter queue, Mended when a
	// crash had left a shard's books half-written. Both run on the shard's actor
	// and must not wait.
	Died   func(shard string, letters []mbox.DeadLetter)
	Mended func(shard string, what error)
}

// Journal keeps what shards change. done is called once, from any goroutine, and
// does not wait; after an error nothing is taken before the mailbox was restored.
type Journal interface {
	Append(c mbox.Changes, lazy bool, done func(error))
}

// Mailbox is the queue of one node. It may be used from many goroutines.
type Mailbox struct {
	opt             Options
	shards          []*shard
	bytes, inflight *mbox.Budget
}

// New makes a mailbox; nothing runs until the children of [Mailbox.Children]
// are started in a tree and [Mailbox.Attach] has found them there.
func New(o Options) (*Mailbox, error) {
	if o.Mono == nil {
		began := time.Now() // its monotonic reading is all that counts
		o.Mono = func() time.Duration { return time.Since(began) }
	}
	m := &Mailbox{opt: o, bytes: mbox.NewBudget(o.MaxBytes), inflight: mbox.NewBudget(o.MaxInflight)}
	for i := range o.Shards {
		q := o.Queue
		q.Bytes, q.Inflight, q.Journal = m.bytes, m.inflight, o.Journal != nil
		if _, err := rand.Read(q.Seed[:]); err != nil {
			return nil, fmt.Errorf("mailbox: no randomness for receipts: %w", err)
		}
		m.shards = append(m.shards, newShard(i, q, o.Journal))
	}
	return m, nil
}

// Children are the shards' actors. Each is required, and while one is down the
// mailbox plane is read-only: sends are refused, the others' messages move on.
func (m *Mailbox) Children() []kernel.Child {
	all := make([]kernel.Child, len(m.shards))
	for i, s := range m.shards {
		all[i] = kernel.Child{
			Name: s.name, Required: true, Planes: []string{ActorName},
			New: func() kernel.Actor { return &worker{box: m, shard: s} },
		}
	}
	return all
}

// Attach finds the shards' actors in the tree that runs them, before it starts.
func (m *Mailbox) Attach(find func(name string) *kernel.Ref) {
	for _, s := range m.shards {
		s.ref = find(s.name)
	}
}

// Halt lets no shard change anything before [Mailbox.Restore]: what they hold is not
// what their journal has.
func (m *Mailbox) Halt() {
	for _, s := range m.shards {
		s.stale.Store(true)
	}
}

// Restore fills the shards with what their journal holds, in place of what they
// have. Leases go on for what was left of them.
func (m *Mailbox) Restore(mail mbox.Mail) {
	rows, keys := make([][]mbox.Row, len(m.shards)), make([][]mbox.KeyRow, len(m.shards))
	for _, r := range mail.Rows {
		i := m.indexOf(r.Topic)
		rows[i] = append(rows[i], r)
	}
	for _, k := range mail.Keys {
		i := m.indexOf(k.Topic)
		keys[i] = append(keys[i], k)
	}
	for i, s := range m.shards {
		s.restore(m.now(), rows[i], keys[i])
		if s.ref != nil {
			_ = s.ref.Send(due{}) // refused: the next incarnation serves who waits
		}
	}
}

// Close tells whoever still waits that the node stops. The tree has stopped before.
func (m *Mailbox) Close() {
	for _, s := range m.shards {
		s.line.close(store.ErrNotReady)
	}
}

// Send accepts one message: when the error is nil it is kept until somebody
// acknowledges it. A zero Hash is computed; an empty CorrID is the context's.
// Errors: those of mbox.Message.Check and mbox.Queue.Send, store.ErrReadOnly
// and store.ErrNotReady while the plane is not open, httpapi.ErrMailboxBusy,
// httpapi.ErrDeadline when ctx ended while it was under way (it may have been
// accepted), or ctx's own.
func (m *Mailbox) Send(ctx context.Context, msg mbox.Message) (mbox.Sent, error) {
	if err := msg.Check(); err != nil {
		return mbox.Sent{}, err
	}
	if msg.Hash == (store.Address{}) {
		msg.Hash = store.Sum(msg.Payload)
	}
	if msg.CorrID == "" {
		msg.CorrID = httpapi.CorrID(ctx)
	}
	v := m.Door().Send(ctx, []mbox.Message{msg})[0]
	return v.Sent, v.Err
}

// Recv leases messages. When none is ready it waits up to wait and then returns
// none. Errors: mbox.ErrInvalid, mbox.ErrInflight, and as for Send.
func (m *Mailbox) Recv(ctx context.Context, w mbox.Want, wait time.Duration) ([]mbox.Delivery, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	if wait <= 0 {
		return m.Door().Recv(ctx, nil, w)
	}
	patience, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return m.Door().Recv(ctx, patience, w)
}

// Settle carries out one verdict. The time is the new deadline of an extended
// lease. Errors: mbox.ErrLeaseLost, mbox.ErrSettled, mbox.ErrUnknown,
// mbox.ErrInvalid, and as for Send.
func (m *Mailbox) Settle(ctx context.Context, s mbox.Settlement) (time.Time, error) {
	v := m.Door().Settle(ctx, []mbox.Settlement{s})[0]
	return v.Deadline, v.Err
}

func (m *Mailbox) now() mbox.Now { return mbox.Now{Mono: m.opt.Mono(), Wall: m.opt.Now()} }

// shardOf spreads topics over the shards.
func (m *Mailbox) shardOf(topic string) *shard {
	return m.shards[m.indexOf(topic)]
}

func (m *Mailbox) indexOf(topic string) int {
	return int(crc32.ChecksumIEEE([]byte(topic)) % uint32(len(m.shards)))
}

// open refuses what the plane does not take: everything while it is closed, and
// what asks for write unless it is open.
func (m *Mailbox) open(write bool) error {
	switch p := m.opt.Plane(); {
	case p == kernel.Closed:
		return store.ErrNotReady
	case write && p != kernel.Open:
		return store.ErrReadOnly
	default:
		return nil
	}
}

// words puts what the kernel answers in an actor's stead into the door's words.
func words(s *shard, err error) error {
	switch {
	case errors.Is(err, kernel.ErrBusy):
		return httpapi.ErrMailboxBusy
	case errors.Is(err, errStale):
		return httpapi.Refuse(store.ErrNotReady, "The disk has failed and is opened anew. This request may or may not have been carried out; "+
			"send again with the same idempotency key, or settle again.")
	case errors.Is(err, kernel.ErrCrashed):
		return httpapi.Refuse(store.ErrNotReady, s.name+" crashed on this request, which may or may not have been carried out. "+
			"It restarts by itself; send again with the same idempotency key, or settle again.")
	case errors.Is(err, kernel.ErrDown):
		return httpapi.Refuse(store.ErrNotReady, s.name+", which keeps this topic, restarts after a crash; nothing was done and nothing is lost. Wait for Retry-After, then try again.")
	case errors.Is(err, kernel.ErrStopped):
		return httpapi.Refuse(store.ErrNotReady, "The node is stopping.")
	case errors.Is(err, kernel.ErrUnknownOutcome):
		return fmt.Errorf("%w: %w", httpapi.ErrDeadline, err)
	default:
		return err
	}
}
