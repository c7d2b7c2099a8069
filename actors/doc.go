// Package actors is the node: it wires the kernel, the store and the door into
// one tree of supervised actors, and shows what they do in logs, metrics and
// events. A host program starts a [Node] with a configuration, uses its
// objects in-process or over the door, hangs its own children beside ours, and
// stops it.
//
// It is not the process: it installs no signal handler, never exits, reads no
// environment and writes to nothing but the logger and the registry that it is
// given. Two nodes live in one process.
//
// Its one invariant: data outlives the actor that tends it. What an actor's
// incarnation needs is lent to it by the node, so a crash forgets nothing.
package actors
