// Package httpapi is the door: the one room that speaks HTTP. Its directory is
// called http, and it is imported as httpapi so that no reader ever takes it
// for net/http.
//
// What it is: the wire types, the server and the client of one protocol, the
// listeners and their limits, and the table that turns errors into problems and
// back (contract §2, §4, §5, §6).
//
// What it is not: it keeps no bytes, restarts no actor, judges no readiness,
// logs nothing and counts nothing. All that reaches it through [Ports], and all
// it has to say leaves through the hooks of [Observer].
//
// Its invariant: an answer is whole and true, or it is not given. Every byte of
// an object that leaves was verified before; damage found late cuts the
// connection; every refusal is one problem, counted once.
package httpapi
