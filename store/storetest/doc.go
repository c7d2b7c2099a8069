// Package storetest is the conformance suite of package store: what every tier, gate and client that calls itself a
// store.Store must do, seen from outside. It is not a place for what one tier promises beyond the contract.
//
// Run covers the contract and, where the Store has them, the optional powers. RunTTL and RunBounded cover what needs a clock
// or a byte bound of the caller's choice. A failing subtest is named after the promise that is broken.
//
// Its one invariant: the suite knows only the exported names of package store.
package storetest
