package httpapi

import (
	"context"
	"net/http"
	"time"

	"micronode/store"
	"micronode/store/mbox"
)

// Ports is all that the door needs of the node. Objects, Ready, Status, Version
// and Now are required; a port that is nil closes its routes with 404. The
// functions are called from many goroutines and answer without waiting.
type Ports struct {
	Objects store.Store
	Ready   func() Readiness // an immutable snapshot with its verbose fields filled; the door copies, never changes it
	// Plane is what Ready says of one plane, and how long until a retry is
	// sensible: asked for by every request, so it should cost nothing. nil: Ready is asked.
	Plane func(name string) (state string, retryAfter time.Duration)
	// Frees says whether what makes room goes on while a plane is read-only: it
	// is so for want of room alone. nil: it does not.
	Frees    func() bool
	Status   func() Status
	Version  func() Version
	Config   func() any // effective and redacted, as a value for encoding/json
	Tail     func(TailQuery) (Tail, error)
	Operator Operator
	Reload   func(context.Context, Order) (Done, error) // nil: its route does not exist
	Mailbox  Mailbox                                    // the zero value: the mailbox is off and its routes do not exist
	Chaos    Chaos                                      // nil: chaos is off and its routes do not exist
	Storage  Storage                                    // nil: nothing is kept and its routes do not exist
	Policy   func() PolicyState                         // nil: its routes do not exist
	Metrics  http.Handler
	Observe  Observer
	// Mono is a clock that never goes back, which rates and waits in line hang on;
	// nil: the machine's.
	Mono func() time.Duration
	Now  func() time.Time // the wall clock: deadlines of connections hang on it
}

// TailQuery selects events of the bus (contract §10). Empty fields select all.
type TailQuery struct {
	Topic    string        // micronode, or one topic below it
	Kind     string        // one kind of event
	History  bool          // begin with the past that SinceSeq or Since names
	SinceSeq uint64        // resume after this sequence number; 0 when Since counts
	Since    time.Duration // how far back; 0 when SinceSeq counts
}

// Tail is one subscription to the bus, used by one goroutine.
type Tail interface {
	// Next waits for an event. io.EOF: the node shuts down. A cancelled ctx
	// loses no event.
	Next(ctx context.Context) (Event, error)
	Close()
}

// Operator carries out orders that change the node. Errors: ErrUnknownService,
// ErrConflict, or the error of ctx. Drain and Shutdown begin and return.
type Operator interface {
	Restart(ctx context.Context, o Order) (Done, error)
	Drain(ctx context.Context, o Order) (Done, error)
	Shutdown(ctx context.Context, o Order) (Done, error)
}

// Mailbox is the queue as the door sees it: all three parts, or none.
type Mailbox struct {
	Queue      MailboxQueue
	View       MailboxView
	Keep       MailboxKeep
	Profile    string // of the dead-letter queue: ephemeral | persistent
	RequireKey bool   // mailbox.require_idempotency
}

// MailboxQueue moves messages. Its verdicts are those of package mbox
// (ErrFull, ErrLeaseLost, ...), [ErrMailboxBusy], store.ErrNotReady while a
// shard is down, store.ErrReadOnly for a send while the plane takes no writes,
// [ErrDeadline], or the error of ctx.
type MailboxQueue interface {
	// Send accepts messages that have passed mbox.Message.Check; one verdict for
	// each, in order. A message is kept from the moment its verdict is nil.
	Send(ctx context.Context, items []mbox.Message) []SendVerdict
	// Recv leases messages. When none is ready it waits until one is, or until
	// patience ends, which is no error; a nil patience does not wait. When ctx
	// ends first, nothing stays leased.
	Recv(ctx, patience context.Context, w mbox.Want) ([]mbox.Delivery, error)
	// Settle carries out verdicts of consumers, in order.
	Settle(ctx context.Context, items []mbox.Settlement) []SettleVerdict
}

// SendVerdict is the outcome of one message of a send.
type SendVerdict struct {
	Sent mbox.Sent
	Err  error
}

// SettleVerdict is the outcome of one settlement.
type SettleVerdict struct {
	Deadline time.Time // of an extended lease, wall clock
	Err      error
}

// MailboxView looks into the queue and changes nothing. It answers while a
// shard is down.
type MailboxView interface {
	// Topics returns up to limit topics whose names come after the given one, by name.
	Topics(after string, limit int) []mbox.Topic
	// Peek returns up to limit messages of a topic.
	Peek(topic string, limit int) []mbox.Waiting
	// Dead returns up to limit dead letters of a topic that died after the given
	// one (zero: from the first), or that one alone. Errors: mbox.ErrUnknown.
	Dead(topic string, q DeadQuery) ([]mbox.DeadLetter, error)
}

// DeadQuery selects dead letters.
type DeadQuery struct {
	After mbox.ID // zero: from the oldest
	Only  mbox.ID // not zero: this one
	Limit int
}

// MailboxKeep changes what lies in the queue. Errors as for [MailboxQueue].
// Limit 0 is everything; with a message id, that one alone (mbox.ErrUnknown).
type MailboxKeep interface {
	Reprocess(ctx context.Context, k Keep) (moved int, err error)
	PurgeDead(ctx context.Context, k Keep) (purged int, err error)
	// Purge removes ready and delayed messages of a topic; what is leased stays
	// with its consumer.
	Purge(ctx context.Context, k Keep) (purged int, err error)
}

// Keep names what a [MailboxKeep] order is about.
type Keep struct {
	Topic string
	Limit int
	Only  mbox.ID
}

// Chaos breaks actors on purpose (contract §9). Errors as for [Operator].
type Chaos interface {
	Kill(ctx context.Context, o Order) (Done, error)
	Hang(ctx context.Context, o Order) (Done, error)
}

// Observer hears what happens at the door. Every hook may be nil; all are
// called from the request's goroutine and must not wait.
type Observer struct {
	Request   func(Exchange)
	Rejected  func(reason string)                      // a reason of contract §5, once per refusal
	Denied    func(Denial)                             // the policy said no
	Handshake func(Handshake)                          // TLS was shaken, or not
	AuthFail  func(reason string)                      // the reason of a 401, a 403 about a capability, or a policy outage
	Audit     func(AuditRecord)                        // every call that asks for a change of the node
	Panic     func(v any, stack []byte, corrID string) // a handler panicked, or an error nobody foresaw (stack nil)
	Log       func(line string)                        // what net/http would have logged
}

// Exchange is one finished request. Route, Method, Status, Reason and Plane are
// drawn from bounded sets and fit for labels; the others are not.
type Exchange struct {
	Route    string // the pattern, or "unmatched"
	Method   string // GET HEAD POST PUT DELETE, or OTHER
	Status   int    // 499: the client left before an answer began
	BytesIn  int64  // of the body
	BytesOut int64  // of the body
	Duration time.Duration
	CorrID   string
	TraceID  string // 32 hex digits of traceparent, or empty
	Reason   string // of the problem, or empty
	Remote   string
	Plane    string // data | metrics | operator
	Aborted  bool   // the answer was cut on purpose or the client left
}

// AuditRecord is one call that asks for a change of the node (contract §4).
type AuditRecord struct {
	Action  string // restart | drain | shutdown | reload | chaos_kill | chaos_hang | cap_mint | cap_revoke | keys_rotate | scrub | repair | backup
	Target  string // cap id, kid, address or directory, or empty
	Policy  string // ids of the policies that permitted it; empty on the operator socket
	Actor   string // uid:1000, cap:<cap id>, cert:<subject>
	Service string // the actor it aims at, or empty
	Reason  string // the caller's words
	UID     int    // the caller by SO_PEERCRED, -1 on TCP
	CorrID  string
	Outcome string // "ok", or the code of the problem
}

// Denial is one request that the policy did not permit.
type Denial struct {
	Principal string // Capability | Certificate | Operator | Anonymous
	ID        string // cap id, subject, uid
	Action    string
	Resource  string // kind
	Policy    string // ids of those that forbade; empty: none permitted
}

// Handshake is one TLS handshake. Both names are of bounded sets.
type Handshake struct {
	Group     string // of the key exchange, empty when it failed
	Failure   string // reason, empty when it did not
	Downgrade bool   // a classical group although a hybrid one was offered
}
