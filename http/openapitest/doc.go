// Package openapitest holds every call of a test against the wire's own
// description, http/openapi.yaml: a route, status, header, media type or body
// that is not written there fails the test that met it.
//
// It is for tests only and never part of a program: the validator behind it
// (kin-openapi) stays out of the node and of ronctl.
//
// The invariant: what the document does not promise, no test gets to see
// without complaint; and the caller's bytes pass through unchanged and
// unbuffered beyond MaxBuffered.
package openapitest
