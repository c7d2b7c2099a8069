// Package mbox is the mailbox: an at-least-once queue with leases, retries with
// backoff, a dedup window and a dead-letter queue, as a pure machine.
//
// It is one shard. It starts no goroutine, reads no clock and waits for nothing:
// every call takes the time as a [Now], and whoever owns the queue calls
// [Queue.Advance] when [Queue.NextDue] has come. It is not safe for concurrent
// use; the owner serialises the calls. It knows no topic's consumers: who waits
// for a message is the owner's business, and [Options.OnReady] tells it.
//
// Its one invariant: a message that Send has accepted is in exactly one of the
// states ready, delayed, leased and dead until it is acknowledged under the
// lease that delivered it, or purged by name; no bound is ever kept by dropping
// it. The table of messages is the truth, and everything else (the lines, the
// timers, the counts) can be made anew from it, so a crash between two steps
// costs nothing (see [Queue.Rebuild]).
package mbox
