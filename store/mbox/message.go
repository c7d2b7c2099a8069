package mbox

import (
	"fmt"
	"time"

	"micronode/store"
)

// Bounds of messages and calls (contract §3).
const (
	MaxPayload    = 1 << 20 // bytes, decoded
	MaxTopic      = 128     // bytes
	MaxKey        = 128     // bytes of an idempotency key
	MaxAttrs      = 32
	MaxAttrName   = 64   // bytes
	MaxAttrValue  = 1024 // bytes
	MaxReason     = 1024 // bytes of a nack's reason; longer ones are refused
	MaxBatch      = 256  // messages of one call
	DefaultBatch  = 32
	DefaultBytes  = 512 << 10 // soft bound of one Recv: the message that passes it is the last
	MaxRecvBytes  = 1 << 20   // what a caller may ask for instead
	MaxDelay      = 12 * time.Hour
	MinVisibility = 250 * time.Millisecond
	MaxVisibility = 12 * time.Hour
)

// Now is one reading of both clocks. Every deadline hangs on Mono, which only
// goes forward and stands for nothing but itself; Wall only stamps what people
// and other programs read.
type Now struct {
	Mono time.Duration // since an arbitrary moment, the same for all calls
	Wall time.Time
}

// Message is what a sender hands in. The queue keeps Payload and Attrs: the
// sender must not change them afterwards.
type Message struct {
	Topic   string
	Payload []byte
	Hash    store.Address // of Payload
	Attrs   map[string]string
	Delay   time.Duration // not delivered before
	Key     string        // idempotency key; "": none
	CorrID  string        // of the request that sent it
}

// Sent answers a Send.
type Sent struct {
	ID        ID
	Duplicate bool // the message had been accepted before under this key
}

// Want is what a receiver asks for. Zero fields mean their defaults.
type Want struct {
	Topic      string
	Visibility time.Duration // length of the lease; 0: Options.Visibility
	Max        int           // messages; 0: DefaultBatch
	MaxBytes   int           // soft bound of payload bytes; 0: DefaultBytes
	Holder     *Holder       // whose leases these will be; nil: nobody's
}

// Delivery is a message under a lease.
type Delivery struct {
	ID       ID
	Topic    string
	Payload  []byte // shared with the queue: read only
	Hash     store.Address
	Attrs    map[string]string // shared with the queue: read only
	Key      string
	CorrID   string
	Sent     time.Time // wall clock
	Attempt  int       // from 1
	Receipt  Receipt
	Deadline time.Time // of the lease, on the wall clock, for people; the queue counts on the monotonic clock
}

// Holder counts the leases of one consumer, so that it never holds more than
// its window. It belongs to the queue's owner as the queue does.
type Holder struct {
	Window int // leases at a time
	held   int
}

// Room returns how many more leases the holder may take.
func (h *Holder) Room() int { return max(0, h.Window-h.held) }

// Verdict is what a consumer has to say about a delivery.
type Verdict uint8

// Verdicts.
const (
	Ack     Verdict = iota // done: forget the message
	Nack                   // failed: again after a backoff, or dead after the last attempt
	Extend                 // still working: the lease is counted anew from now
	Release                // was never handed over: ready again at the head of its line, the attempt does not count
)

// Settlement is one verdict under one receipt.
type Settlement struct {
	Verdict    Verdict
	Receipt    Receipt
	Reason     string                  // of a Nack: becomes last_error
	Visibility time.Duration           // of an Extend; 0: Options.Visibility
	May        func(topic string) bool // nil: the message may be of any topic
}

// DeadLetter is a message that used up its attempts.
type DeadLetter struct {
	Delivery            // Attempt is the last one; Receipt and Deadline are zero
	Reason    string    // max_attempts
	LastError string    // of the last attempt: the consumer's words, or "visibility timeout"
	Died      time.Time // wall clock
}

// Waiting is a message as [Queue.Peek] shows it: nobody's lease is touched.
type Waiting struct {
	Delivery                // Attempt counts deliveries so far; Receipt is zero, Deadline that of a lease
	State     string        // ready | delayed | leased
	LastError string        // of the attempt before, if there was one
	Due       time.Duration // until a delayed message is ready or a lease ends; 0 when ready
}

// Topic is one topic's depths.
type Topic struct {
	Name                         string
	Ready, Delayed, Leased, Dead int
	Bytes                        int64         // of payloads
	Oldest                       time.Duration // age since Send of the message that is next in line; 0: none is ready
}

// Stats are counts since the queue was made, which never fall, and what it holds
// now. Delivered counts leases, Redelivered those past the first attempt, and
// Released those of both that were given back unseen.
type Stats struct {
	Enqueued, Delivered, Redelivered, Released, Acked, Nacked, Expired, Died, Duplicates, Purged uint64
	Ready, Delayed, Leased, Dead                                                                 int
	Topics, Keys                                                                                 int   // Keys: in the dedup window
	Bytes                                                                                        int64 // of the budget
}

// Check holds a message against the bounds above. Errors: ErrInvalid with what
// is wrong and what would be right.
func (m *Message) Check() error {
	if err := CheckTopic(m.Topic); err != nil {
		return err
	}
	switch {
	case len(m.Payload) > MaxPayload:
		return fmt.Errorf("%w: a payload may have %d bytes, this one has %d; put it as an object and send its address", ErrInvalid, MaxPayload, len(m.Payload))
	case m.Delay < 0 || m.Delay > MaxDelay:
		return fmt.Errorf("%w: a delay is from 0 to %v", ErrInvalid, MaxDelay)
	case m.Key != "" && !printable(m.Key, MaxKey):
		return fmt.Errorf("%w: an idempotency key has 1 to %d printable ASCII characters", ErrInvalid, MaxKey)
	case len(m.Attrs) > MaxAttrs:
		return fmt.Errorf("%w: a message may have %d attrs, this one has %d", ErrInvalid, MaxAttrs, len(m.Attrs))
	}
	for name, value := range m.Attrs {
		if !printable(name, MaxAttrName) {
			return fmt.Errorf("%w: the name of an attr has 1 to %d printable ASCII characters", ErrInvalid, MaxAttrName)
		}
		if len(value) > MaxAttrValue {
			return fmt.Errorf("%w: the value of an attr may have %d bytes", ErrInvalid, MaxAttrValue)
		}
	}
	return nil
}

// CheckTopic: 1 to 128 of A-Z a-z 0-9 . _ : / - and begins with a letter or a
// digit. Errors: ErrInvalid.
func CheckTopic(s string) error {
	if s == "" {
		return fmt.Errorf("%w: name the topic", ErrInvalid)
	}
	ok := len(s) <= MaxTopic && alnum(s[0])
	for i := range len(s) {
		c := s[i]
		ok = ok && (alnum(c) || c == '.' || c == '_' || c == ':' || c == '/' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: a topic has 1 to %d of A-Z a-z 0-9 . _ : / - and begins with a letter or a digit", ErrInvalid, MaxTopic)
	}
	return nil
}

// Check holds a Want against the bounds above. Errors: ErrInvalid.
func (w *Want) Check() error {
	if err := CheckTopic(w.Topic); err != nil {
		return err
	}
	switch {
	case w.Visibility != 0 && (w.Visibility < MinVisibility || w.Visibility > MaxVisibility):
		return fmt.Errorf("%w: a visibility timeout is from %v to %v", ErrInvalid, MinVisibility, MaxVisibility)
	case w.Max < 0 || w.Max > MaxBatch:
		return fmt.Errorf("%w: one call takes from 1 to %d messages", ErrInvalid, MaxBatch)
	case w.MaxBytes < 0 || w.MaxBytes > MaxRecvBytes:
		return fmt.Errorf("%w: one call takes from 1 to %d bytes", ErrInvalid, MaxRecvBytes)
	}
	return nil
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// printable: 1 to limit bytes of ASCII from ! to ~, or space inside.
func printable(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s[0] != ' ' && s[len(s)-1] != ' '
}
