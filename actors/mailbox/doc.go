// Package mailbox runs the queue of package mbox: shards as supervised actors,
// the receivers that wait at them, and consumer loops for programs that embed a
// node.
//
// It is not the queue's rules, which are pure and live in store/mbox, and not
// the wire, which lives in http.
//
// Its one invariant: a shard's messages, and whoever waits for them, belong to
// the node and are only lent to the incarnation that works on them. So a kill, a
// panic or a hang loses nothing that was accepted, and an incarnation that was
// given up on can change nothing any more.
package mailbox
