// Package mem is the RAM tier of package store: it keeps objects in memory, and when the process ends they are gone.
//
// Readers never wait for a writer: the index is read without a lock, and a pin count keeps the bytes of an open Blob alive.
// Writers read, hash, compare and zero outside the one lock, which guards only the index and the order of expiry.
//
// Memory. An object costs its payload plus ObjectOverhead against Options.MaxBytes; that sum is Usage().Bytes. It falls when
// the memory is really given up: after the last reader of a deleted or expired object has closed and the bytes are zeroed.
// One exception: a copy that a full store replaces by the same object (damaged or expired) passes its charge on at once, and
// is not counted while a reader still holds it.
// Streams reserve as their groups land; a body of one declared length up to SmallBody reserves when it is stored, so that
// putting what is already there succeeds in a full store. Beyond the bound there are only bodies of that kind under way, one
// group per stream, and FreeGroups idle buffers.
//
// It is not a cache: nothing is evicted. It starts no goroutine: its owner calls Sweep. It has no clock but Options.Now.
//
// Its one invariant: Usage().Bytes never exceeds MaxBytes, and is 0 when everything is deleted and closed.
package mem
