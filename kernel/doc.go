// Package kernel keeps children alive. It starts a list of supervised actors
// in order, restarts each one that crashes, hangs or is killed after a backoff
// with full jitter, tells a restart storm from a hiccup, stops them in reverse
// order before a deadline, and says truthfully at any moment which of them run.
//
// It is the embeddable core: a host program describes its own [Child] values
// and hands them to [New]. It is not a service: it knows no object, queue,
// wire or metric; it neither logs nor reads the environment, and nothing in it
// ends the process.
//
// The one invariant: every death of an incarnation, whatever its cause, passes
// through one function on one goroutine (root.crashed), so that the ledger,
// the event, the count and the restart can never disagree.
//
// The figures and words (backoff, storm, quarantine, half-open probe) are those
// of contract §9; the bus is that of §10.
package kernel
