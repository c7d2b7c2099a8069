package mbox

import "errors"

// Errors of a queue (contract §3).
var (
	ErrInvalid    = errors.New("mbox: invalid")                                      // a field outside its bounds; the text says which
	ErrBadReceipt = errors.New("mbox: not a receipt")                                // malformed
	ErrFull       = errors.New("mbox: shard is full")                                // mailbox.shard_capacity messages
	ErrBytes      = errors.New("mbox: out of bytes")                                 // mailbox.max_bytes
	ErrInflight   = errors.New("mbox: too many messages in flight")                  // mailbox.max_inflight leases
	ErrKeyReused  = errors.New("mbox: idempotency key was used for another payload") // within the dedup window
	ErrKeyNeeded  = errors.New("mbox: idempotency key is missing")                   // mailbox.require_idempotency
	ErrUnknown    = errors.New("mbox: no such message")                              // never sent here, purged, or settled long ago
	ErrLeaseLost  = errors.New("mbox: the lease is over")                            // expired, given back, or passed to somebody else
	// ErrOtherTopic: the message is of a topic that [Settlement.May] does not take.
	ErrOtherTopic = errors.New("mbox: the message is of another topic")
	ErrSettled    = errors.New("mbox: already acknowledged with this receipt")             // lately
	ErrCorrupted  = errors.New("mbox: the queue's own books do not agree with each other") // Check
)
