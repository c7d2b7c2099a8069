// Package cli is the command ronctl: it reads flags, speaks the wire to one
// node, and prints.
//
// It is not part of the node and knows nothing of its inside; what it can do,
// any program can do with GET /openapi.yaml. All that it needs of the world
// comes in with [System], so that tests own it.
//
// The invariant: the exit code tells the truth. 0 means that all that was asked
// for has happened, and every byte that was read or stored was checked against
// its address.
package cli
