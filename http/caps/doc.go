// Package caps is who may: macaroons that the node mints, that their holders
// narrow without asking anybody, and that nobody can forge or widen (contract §8;
// Birgisson et al., "Macaroons: Cookies with Contextual Caveats", NDSS 2014).
//
// It is not a policy: it says what a token allows, not whether the operator
// agrees, and it knows no HTTP. Its invariant: a token that has one caveat more
// allows nothing that the shorter one did not.
//
// The wire form is libmacaroons' binary version 2 in unpadded base64url, read and
// written by gopkg.in/macaroon.v2. The chain of HMACs is worked out here, in
// memory that is locked and never on the heap: the library would leave copies of
// the root key and of the signatures of wider tokens behind for the collector.
package caps
