// Package store is the room of immutable objects: bytes known by the BLAKE3 address of their content, the contract that every
// tier of storage keeps, and the one place that hashes.
//
// It is not a tier: bytes are kept by the packages below it (store/mem keeps them in RAM), and store/storetest holds the suite
// that all of them pass. It knows no HTTP, no actors, no configuration and no clock, and it logs nothing.
//
// Its one invariant: no byte leaves unverified. An object of at most GroupSize bytes is checked by its whole digest, a larger
// one group by group against the BLAKE3 tree, and the tree itself is trusted only after it folds to the address.
package store
