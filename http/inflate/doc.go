// Package inflate reads compressed bodies under two bounds: so many plain bytes
// for each compressed one, and so many in all (contract §2). Both hold on bytes
// that were really read and really came out, whatever the body says of itself.
//
// It takes one coding, never two, and knows no HTTP but the names of codings (RFC
// 9110 §8.4.1, RFC 8878). The invariant: a Read returns no byte that is beyond a
// bound.
package inflate
