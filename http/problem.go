package httpapi

import (
	"context"
	"errors"

	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/store"
	"micronode/store/mbox"
)

// The door's own refusals. A client gets the same values back (contract §5),
// and those of package store where the store refused.
var (
	ErrBadRequest      = errors.New("bad request")           // 400
	ErrUnauthenticated = errors.New("unauthenticated")       // 401
	ErrForbidden       = errors.New("forbidden")             // 403
	ErrPolicyDenied    = errors.New("denied by policy")      // 403
	ErrNoRoute         = errors.New("no such route")         // 404
	ErrUnknownService  = errors.New("unknown service")       // 404
	ErrMethod          = errors.New("method not allowed")    // 405
	ErrTimeout         = errors.New("request too slow")      // 408
	ErrConflict        = errors.New("conflict")              // 409
	ErrLengthRequired  = errors.New("length required")       // 411
	ErrPrecondition    = errors.New("precondition failed")   // 412
	ErrEncoding        = errors.New("unsupported encoding")  // 415
	ErrRange           = errors.New("range not satisfiable") // 416
	ErrRateLimited     = errors.New("rate limited")          // 429
	ErrFlowLimited     = errors.New("quota used up")         // 429
	ErrInternal        = errors.New("internal error")        // 500
	ErrOverload        = errors.New("overloaded")            // 503
	ErrDeadline        = errors.New("deadline passed")       // 503: the node was too slow
	ErrNotSupported    = errors.New("not supported")         // 501
	ErrMailboxBusy     = errors.New("mailbox busy")          // 429
	ErrInflated        = errors.New("inflates too far")      // 413
	ErrStreams         = errors.New("too many exchanges")    // 429
	ErrInflating       = errors.New("too much to inflate")   // 429
	ErrHeaderTooLarge  = errors.New("header too large")      // 431
	errBodyCut         = errors.New("body cut short")        // 400
)

// kind is one row of the table that turns errors into problems and back.
type kind struct {
	err       error
	status    int
	code      string // contract §5
	reason    string // finer than the code; the pair is unique
	counted   string // reason of rejected_total; empty: not counted
	title     string
	detail    string // what is said when the refusal itself says nothing better
	retryable bool
}

// kinds is the one table (contract §5). The first row that errors.Is matches
// decides; the first row of a code stands for reasons a client does not know.
var kinds = [...]kind{
	{ErrBadRequest, 400, "bad_request", "schema", "schema", "Bad request",
		"The request is malformed. Compare it with GET /openapi.yaml.", false},
	{store.ErrBadAddress, 400, "bad_request", "address", "schema", "Bad address",
		"An address is b3: and 64 lowercase hex digits. Take it from the answer of /put or from GET /o.", false},
	{mbox.ErrInvalid, 400, "bad_request", "message", "schema", "Bad message",
		"A field of the message is outside its bounds. Compare it with GET /openapi.yaml.", false},
	{mbox.ErrBadReceipt, 400, "bad_request", "receipt", "schema", "Bad receipt",
		"This is no receipt: those are 44 characters of base64url and come with each message. Pass it back as it came.", false},
	{mbox.ErrKeyNeeded, 400, "bad_request", "idempotency_key", "schema", "Idempotency key missing",
		"This node takes no message without a key (mailbox.require_idempotency). Send idem_key or the header Idempotency-Key.", false},
	{errBodyCut, 400, "bad_request", "body_cut", "schema", "Body cut short",
		"The body ended or broke before its announced end; nothing was stored. Send it again.", true},
	{ErrUnauthenticated, 401, "unauthenticated", "missing", "unauth", "No capability",
		"This needs a capability: send Authorization: Macro <token>. An operator makes one with ronctl cap mint.", false},
	{caps.ErrExpired, 401, "unauthenticated", "expired", "unauth", "Capability expired",
		"The capability is over, or names no end (exp). Ask for a fresh one.", false},
	{caps.ErrEarly, 401, "unauthenticated", "not_yet_valid", "unauth", "Capability not valid yet",
		"The capability begins later (nbf). Wait, or compare the clocks.", false},
	{ErrForbidden, 403, "forbidden", "forbidden", "forbidden", "Forbidden",
		"This is not allowed here.", false},
	{caps.ErrMalformed, 403, "forbidden", "malformed", "forbidden", "Not a capability",
		"The token is no macaroon of version 2 in unpadded base64url, or is beyond 4096 characters or 64 caveats. Pass it on as it was given.", false},
	{caps.ErrForged, 403, "forbidden", "tampered", "forbidden", "Capability not genuine",
		"The signature does not hold: the token was changed, or its key is not, or no longer, one of this node's. Ask for a fresh one.", false},
	{caps.ErrRevoked, 403, "forbidden", "revoked", "forbidden", "Capability revoked",
		"The operator has revoked this capability and all that were made from it. Ask for a fresh one.", false},
	{caps.ErrTooLong, 403, "forbidden", "lifetime", "forbidden", "Capability lives too long",
		"The capability names an end (exp) more than 60 minutes away. Ask for one that lives shorter.", false},
	{caps.ErrCaveat, 403, "forbidden", "caveat", "forbidden", "Caveat not understood",
		"The capability holds a caveat that this node does not know, or not in its canonical form, and so allows nothing. ronctl cap inspect shows it.", false},
	{mbox.ErrOtherTopic, 403, "forbidden", "topic", "forbidden", "Out of scope",
		"The capability is for other topics than this message's. Nothing was changed.", false},
	{caps.ErrScope, 403, "forbidden", "scope", "forbidden", "Out of scope",
		"The capability is good, and not for this. Ask for one that is.", false},
	{ErrPolicyDenied, 403, "forbidden", "policy", "forbidden", "Denied by policy",
		"The policy of this node does not permit this.", false},
	{store.ErrNotFound, 404, "not_found", "object", "", "No such object",
		"The store holds no object with this address: it was never put, was deleted, or has expired.", false},
	{ErrUnknownService, 404, "not_found", "service", "", "No such service",
		"No actor has this name. GET /api/v1/status lists them.", false},
	{mbox.ErrUnknown, 404, "not_found", "message", "", "No such message",
		"The mailbox has no such message: it was acknowledged or purged long ago, or never sent here.", false},
	{mbox.ErrLeaseLost, 404, "not_found", "lease_lost", "", "The lease is over",
		"The visibility timeout passed, or the message was given back; it comes again to whoever receives next, with a new receipt. Ask for a longer visibility_ms, or extend the lease in time.", false},
	{mbox.ErrSettled, 404, "not_found", "already_acked", "", "Already acknowledged",
		"This receipt acknowledged its message before: nothing is left to do.", false},
	{ErrNoRoute, 404, "not_found", "route", "", "No such route",
		"Nothing is served at this path. GET /openapi.yaml lists what is.", false},
	{ErrMethod, 405, "method_not_allowed", "method", "method", "Method not allowed",
		"This path does not take this method; the Allow header names those it takes.", false},
	{ErrTimeout, 408, "timeout", "timeout", "timeout", "Request too slow",
		"The body did not arrive in time; nothing was stored. Each 64 KiB has limits.request_timeout to arrive.", true},
	{ErrConflict, 409, "conflict", "conflict", "", "Conflict",
		"The state of the node does not allow this now. Look at GET /api/v1/status.", false},
	{mbox.ErrKeyReused, 409, "conflict", "idempotency_key", "", "Idempotency key reused",
		"This key came with another payload on this topic within mailbox.dedup_window. Use a new key for a new message.", false},
	{ErrLengthRequired, 411, "length_required", "length", "schema", "Length required",
		"Say how long the body is with Content-Length (0 for the empty object), or send it with Transfer-Encoding: chunked.", false},
	{ErrPrecondition, 412, "precondition_failed", "precondition", "", "Precondition failed",
		"If-Match does not name this object's ETag.", false},
	{store.ErrTooLarge, 413, "too_large", "too_large", "413", "Too large",
		"The body is larger than this node takes; nothing was stored.", false},
	{ErrInflated, 413, "too_large", "decompress", "decompress", "Inflates too far",
		"The body inflates beyond limits.decompress_ratio times its compressed bytes, or beyond limits.decompress_max_bytes; nothing was stored. Send it plain.", false},
	{ErrEncoding, 415, "unsupported_encoding", "encoding", "schema", "Unsupported encoding",
		"This body is not in a Content-Encoding that is taken here: /put takes one of gzip, deflate and zstd, never two; the rest takes none. Send it so, or plain.", false},
	{ErrRange, 416, "range_not_satisfiable", "range", "", "Range not satisfiable",
		"The range lies outside the object; Content-Range says how long it is.", false},
	{store.ErrMismatch, 422, "integrity_fail", "mismatch", "integrity", "Bytes do not match",
		"The body's BLAKE3 is not the one in X-Content-B3; nothing was stored. Send it again, or correct the header.", false},
	{store.ErrCorrupt, 502, "integrity_fail", "corrupt", "integrity", "Stored bytes are damaged",
		"The stored bytes no longer match their address and were not sent. Put the object again to heal it.", false},
	{ErrHeaderTooLarge, 431, "bad_request", "header_too_large", "schema", "Header too large",
		"The request line and the header together may have limits.header_bytes (16 KiB). Send fewer or shorter fields.", false},
	{ErrRateLimited, 429, "quota_exhausted", "rps", "429", "Too many requests",
		"The node takes limits.rps requests a second. Wait for Retry-After, then send again.", true},
	{ErrFlowLimited, 429, "quota_exhausted", "flow_rps", "429", "Quota used up",
		"This client has had its share: fairness.rps_per_flow requests a second, or the rps of its capability. Wait for Retry-After, then send again.", true},
	{ErrStreams, 429, "quota_exhausted", "streams", "429", "Too many exchanges",
		"This connection has as many exchanges under way as HELLO's max_inflight allows. Finish some, then send again.", true},
	{ErrInflating, 429, "quota_exhausted", "inflating", "429", "Too much to inflate",
		"As many compressed bodies as the node inflates at a time are under way. Wait for Retry-After, or send the body plain.", true},
	{store.ErrFull, 429, "quota_exhausted", "store_bytes", "429", "Store full",
		"The store holds as much as store.max_bytes allows and evicts nothing. Delete objects or raise the bound, then send again.", true},
	{mbox.ErrFull, 429, "quota_exhausted", "mailbox_full", "429", "Mailbox full",
		"The shard of this topic holds mailbox.shard_capacity messages, dead ones included, and drops none. Consume, reprocess or purge (GET /mbox/topics), then send again.", true},
	{mbox.ErrBytes, 429, "quota_exhausted", "mailbox_bytes", "429", "Mailbox full",
		"The mailbox holds mailbox.max_bytes of messages and drops none. Consume or purge (GET /mbox/topics), then send again.", true},
	{mbox.ErrInflight, 429, "quota_exhausted", "mailbox_inflight", "429", "Too many messages in flight",
		"mailbox.max_inflight messages are under lease. Acknowledge some, then receive again.", true},
	{ErrMailboxBusy, 429, "quota_exhausted", "mailbox_busy", "429", "Mailbox busy",
		"More requests wait at this shard than it takes. Wait for Retry-After, then send again.", true},
	{ErrInternal, 500, "internal", "internal", "", "Internal error",
		"The node failed in a way it did not foresee. Its log has the reason under this corr_id.", false},
	{ErrNotSupported, 501, "not_supported", "not_supported", "", "Not supported",
		"This node's store cannot do that. GET /version lists what the node does.", false},
	{store.ErrNotReady, 503, "not_ready", "not_ready", "503", "Not ready",
		"The node cannot serve this now. GET /readyz?verbose says why; wait for Retry-After, then send again.", true},
	{store.ErrReadOnly, 503, "not_ready", "read_only", "503", "Read-only for now",
		"Reads go on, writes are refused until the cause is gone. GET /readyz?verbose names it; wait for Retry-After, then send again.", true},
	{policy.ErrOutage, 503, "not_ready", "policy", "503", "Nobody decides",
		"The policy actor does not vouch for the policy, so everything is denied. It restarts by itself; wait for Retry-After, then send again. The operator socket stays open.", true},
	{ErrOverload, 503, "not_ready", "overload", "503", "Overloaded",
		"All slots of limits.inflight are taken, and the line before them is full or too slow. Wait for Retry-After, then send again.", true},
	{ErrDeadline, 503, "not_ready", "deadline", "timeout", "The node was too slow",
		"The node did not finish within limits.request_timeout. Look at GET /api/v1/status before sending again.", true},
	{context.DeadlineExceeded, 503, "not_ready", "deadline", "timeout", "The node was too slow",
		"The node did not finish within limits.request_timeout. Look at GET /api/v1/status before sending again.", true},
}

// kindOf finds the row of err; what no row foresees is internal.
func kindOf(err error) *kind {
	for i := range kinds {
		if errors.Is(err, kinds[i].err) {
			return &kinds[i]
		}
	}
	return kindOf(ErrInternal)
}

// sentinelFor reads the table backwards: the error that a problem's code and
// reason stand for, or nil for a code that this table does not have. A reason
// it does not know is read as the code's first.
func sentinelFor(code, reason string) error {
	var first error
	for i := range kinds {
		k := &kinds[i]
		if k.code != code {
			continue
		}
		if k.reason == reason {
			return k.err
		}
		if first == nil {
			first = k.err
		}
	}
	return first
}

// statusClientGone marks, in an Exchange only, a request whose client left
// before an answer began.
const statusClientGone = 499
