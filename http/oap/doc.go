// Package oap speaks OAP/1 (contract §7): frames of a 38-byte header, a capability
// and a payload, many exchanges on one connection.
//
// The codec ([Decoder], [AppendFrame]) is pure. The session ([Server]) takes frames
// apart into exchanges, bounds them, and hands each to a handler; it knows no verb,
// no object and no policy: those are the handler's, who is the same house that
// answers HTTP. The [Client] is the other side; it does not verify what it
// receives, because nothing here hashes.
//
// The invariant: after a fault of framing nothing more is read from a connection,
// since nobody can tell where the next frame begins.
package oap
