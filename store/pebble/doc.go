// Package pebble is the durable tier of package store: objects, the mailbox's rows and small notes in one pebble instance.
//
// A write is answered only after the commit that holds it was synced. All commits go through one committer, which gathers
// what waits into one batch and one fsync, and numbers it; so what a reader sees of another writer is known to be ordered.
//
// An error of the log or of the manifest is latched: the handle is fenced, so that nothing it still has in mind reaches the
// disk, writes are refused with ErrNotReady, reads go on where they can. [Store.Reopen] opens the directory anew and holds
// the last commit that was acknowledged against what is found there. A handle that failed to sync is never asked again: the
// page cache may show as written what never was.
//
// It is not a cache and evicts nothing; it starts one goroutine of its own, the committer, and waits for it in Close. It has no
// clock but Options.Now, logs nothing, and decides nothing about peers: who heals is its owner.
//
// Its one invariant: what was acknowledged is on the disk, and no byte leaves without having been held against its address.
package pebble
