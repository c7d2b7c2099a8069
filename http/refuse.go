package httpapi

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"micronode/store"
)

// Waits that are told to refused clients where nothing better is known. A
// random part keeps a crowd from coming back at the same instant.
const (
	retryRate     = 500 * time.Millisecond
	retryFull     = 5 * time.Second
	retryNotReady = time.Second
)

// refusal is an error with better words than its kind's, or a wait.
type refusal struct {
	kind   error
	detail string        // empty: the kind's own
	after  time.Duration // 0: the kind's own
}

func (r *refusal) Error() string {
	if r.detail == "" {
		return r.kind.Error()
	}
	return r.detail
}

func (r *refusal) Unwrap() error { return r.kind }

// refuse says why and what next in words of the place where it went wrong.
func refuse(kind error, detail string) error { return &refusal{kind: kind, detail: detail} }

// Refuse gives an error of the table above better words: why, and what to do
// next. Ports use it for their answers.
func Refuse(kind error, detail string) error { return refuse(kind, detail) }

// problemOf makes the one body of refusals out of any error.
func problemOf(err error, corrID string) (Problem, *kind) {
	k := kindOf(err)
	p := Problem{
		Type: "urn:micronode:problem:" + k.code, Title: k.title, Status: k.status, Detail: k.detail,
		Code: k.code, Reason: k.reason, Retryable: k.retryable, CorrID: corrID,
	}
	var r *refusal
	var after time.Duration
	if errors.As(err, &r) {
		after = r.after
		if r.detail != "" {
			p.Detail = r.detail
		}
	}
	if k.status == http.StatusTooManyRequests || k.status == http.StatusServiceUnavailable {
		p.RetryAfterMS = retryAfter(k, after).Milliseconds()
	}
	return p, k
}

// retryAfter is the wait of a kind, jittered upwards for 429.
func retryAfter(k *kind, after time.Duration) time.Duration {
	base := retryNotReady
	switch {
	case after > 0:
		base = after
	case k.err == ErrRateLimited:
		base = retryRate
	case k.err == store.ErrFull:
		base = retryFull
	}
	if k.status == http.StatusTooManyRequests || k.err == ErrOverload {
		base += rand.N(base/2 + 1)
	}
	return base
}

// retrySeconds is the Retry-After header: whole seconds, rounded up, at least 1.
func retrySeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}

// writeProblem answers with the problem of err. The caller has not begun to answer.
func (w *reply) writeProblem(err error) *kind {
	p, k := problemOf(err, w.corrID)
	h := w.Header()
	for _, name := range [...]string{"Cache-Control", "Content-Disposition", "Content-Length", "X-Ron-Expires", "Location"} {
		delete(h, name)
	}
	if k.status != http.StatusRequestedRangeNotSatisfiable {
		for _, name := range [...]string{"Etag", "Accept-Ranges", "Content-Range"} {
			delete(h, name)
		}
	}
	h["Content-Type"] = headerProblem
	h["Cache-Control"] = headerNoStore
	h["X-Content-Type-Options"] = headerNoSniff
	if k.status == http.StatusUnauthorized {
		h["Www-Authenticate"] = headerAuthScheme
	}
	if p.RetryAfterMS > 0 {
		h.Set("Retry-After", retrySeconds(time.Duration(p.RetryAfterMS)*time.Millisecond))
	}
	body, _ := json.Marshal(p) // strings and numbers: cannot fail
	body = append(body, '\n')
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that left is seen in the exchange
	w.reason = p.Reason
	return k
}
