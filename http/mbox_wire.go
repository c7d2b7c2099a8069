package httpapi

import (
	"time"
)

// SendRequest is the body of POST /mbox/send, or one item of its array of up to
// 256 (contract §3). The key may come as the header Idempotency-Key instead,
// with a single message.
type SendRequest struct {
	Topic      string            `json:"topic"`
	PayloadB64 []byte            `json:"payload_b64"`        // standard base64, padded; at most 1 MiB decoded
	Attrs      map[string]string `json:"attrs,omitempty"`    // at most 32
	DelayMS    int64             `json:"delay_ms,omitempty"` // 0 to 12 h
	IdemKey    string            `json:"idem_key,omitempty"` // 1 to 128 printable ASCII characters
}

// SendAnswer answers one send. In the answer to an array each item has a
// Status: 200, or the item is a [Problem] instead.
type SendAnswer struct {
	Status    int    `json:"status,omitempty"` // in arrays only
	MsgID     string `json:"msg_id"`
	Duplicate bool   `json:"duplicate"` // accepted before under this key: this is its id
}

// RecvRequest is the body of POST /mbox/recv and /mbox/recv/stream. Absent
// members mean their defaults. wait_ms is for recv alone; for a stream
// max_messages is how many messages may be out and not yet settled.
type RecvRequest struct {
	Topic        string `json:"topic"`
	VisibilityMS *int64 `json:"visibility_ms,omitempty"` // 250 to 12 h; mailbox.visibility
	MaxMessages  *int64 `json:"max_messages,omitempty"`  // 1 to 256; 32
	MaxBytes     *int64 `json:"max_bytes,omitempty"`     // of payloads, soft; 1 to 1 MiB; 512 KiB
	WaitMS       *int64 `json:"wait_ms,omitempty"`       // 0 to 30000; 0
}

// Envelope is one delivered message: an item of [RecvAnswer], or a line of a stream.
type Envelope struct {
	MsgID       string            `json:"msg_id"` // ULID
	Topic       string            `json:"topic"`
	TS          time.Time         `json:"ts"` // when it was accepted
	IdemKey     string            `json:"idem_key"`
	PayloadB64  []byte            `json:"payload_b64"`
	PayloadHash string            `json:"payload_hash"` // b3:<64 hex> of the decoded payload
	Attrs       map[string]string `json:"attrs"`
	CorrID      string            `json:"corr_id"` // of the request that sent it
	Attempt     int               `json:"attempt"` // from 1
	Receipt     string            `json:"receipt"`
	Deadline    time.Time         `json:"deadline"` // of the lease, by the node's wall clock
}

// RecvAnswer answers POST /mbox/recv; Messages is never null.
type RecvAnswer struct {
	Messages []Envelope `json:"messages"`
}

// SettleRequest is the body of POST /mbox/ack, /mbox/nack and /mbox/extend, or
// one item of the array of up to 256 that ack takes.
type SettleRequest struct {
	Receipt      string `json:"receipt"`
	MsgID        string `json:"msg_id,omitempty"`        // optional; another message's is a 404
	Reason       string `json:"reason,omitempty"`        // nack only; at most 1024 bytes
	VisibilityMS *int64 `json:"visibility_ms,omitempty"` // extend only
}

// SettleAnswer answers a settlement. In arrays each item has a Status, or is a
// [Problem] instead.
type SettleAnswer struct {
	Status   int        `json:"status,omitempty"` // in arrays only
	OK       bool       `json:"ok"`
	Deadline *time.Time `json:"deadline,omitempty"` // extend only
}

// TopicState is one topic of GET /mbox/topics.
type TopicState struct {
	Topic    string `json:"topic"`
	Ready    int    `json:"ready"`
	Delayed  int    `json:"delayed"` // sent with a delay, or in backoff
	Leased   int    `json:"leased"`
	Dead     int    `json:"dead"`
	Bytes    int64  `json:"bytes"`         // of payloads
	OldestMS int64  `json:"oldest_age_ms"` // age of the message that is next in line
}

// TopicList answers GET /mbox/topics?cursor=&limit=, by name. Topics without
// messages do not exist.
type TopicList struct {
	Topics []TopicState `json:"topics"`
	Cursor string       `json:"cursor,omitempty"`
}

// PeekedMessage is one message of GET /mbox/peek: no lease is given or touched.
type PeekedMessage struct {
	MsgID       string            `json:"msg_id"`
	Topic       string            `json:"topic"`
	TS          time.Time         `json:"ts"`
	IdemKey     string            `json:"idem_key"`
	PayloadB64  []byte            `json:"payload_b64"`
	PayloadHash string            `json:"payload_hash"`
	Attrs       map[string]string `json:"attrs"`
	CorrID      string            `json:"corr_id"`
	Attempt     int               `json:"attempt"` // deliveries so far
	State       string            `json:"state"`   // ready | delayed | leased
	DueMS       int64             `json:"due_ms"`  // until it is ready, or the lease ends
	LastError   string            `json:"last_error,omitempty"`
}

// PeekAnswer answers GET /mbox/peek?topic=&limit=: ready messages in the order
// of delivery, then delayed and leased ones by time.
type PeekAnswer struct {
	Messages []PeekedMessage `json:"messages"`
}

// DeadMessage is one entry of the dead-letter queue.
type DeadMessage struct {
	MsgID       string            `json:"msg_id"`
	Topic       string            `json:"topic"`
	TS          time.Time         `json:"ts"`
	IdemKey     string            `json:"idem_key"`
	PayloadB64  []byte            `json:"payload_b64"`
	PayloadHash string            `json:"payload_hash"`
	Attrs       map[string]string `json:"attrs"`
	CorrID      string            `json:"corr_id"`
	Attempt     int               `json:"attempt"`
	Reason      string            `json:"reason"` // max_attempts
	LastError   string            `json:"last_error"`
	DiedAt      time.Time         `json:"died_at"`
}

// DLQAnswer answers GET /mbox/dlq?topic=&cursor=&limit=&msg_id=, oldest death first.
type DLQAnswer struct {
	Topic    string        `json:"topic"`
	Messages []DeadMessage `json:"messages"`
	Cursor   string        `json:"cursor,omitempty"`
	Profile  string        `json:"dlq_profile"` // ephemeral: gone when the process ends (amnesia); persistent
}

// KeepRequest is the body of POST /mbox/dlq/reprocess, /mbox/dlq/purge and
// /mbox/purge. Limit 0 or absent is everything.
type KeepRequest struct {
	Topic string `json:"topic"`
	Limit int    `json:"limit,omitempty"`
	MsgID string `json:"msg_id,omitempty"` // reprocess and dlq/purge: this message alone
}

// MovedAnswer answers POST /mbox/dlq/reprocess.
type MovedAnswer struct {
	Moved int `json:"moved"`
}

// PurgedAnswer answers POST /mbox/dlq/purge and /mbox/purge.
type PurgedAnswer struct {
	Purged int `json:"purged"`
}
