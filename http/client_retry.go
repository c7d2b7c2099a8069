package httpapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"micronode/store"
)

// Retry says how a client repeats what failed for now: refusals with 408, 429
// or 503 that the node calls retryable, and, where carrying a call out twice is
// harmless, connections that cannot be made or break. A full store is not
// retried: only deletes help there. The zero value repeats nothing.
type Retry struct {
	Attempts int           // of one call in all; up to 1: no retry
	MaxWait  time.Duration // the most that one call waits between attempts in all; 0: Attempts alone bounds it
	Base     time.Duration // backoff is rand(0, min(Cap, Base·2^n)); 0: 100 ms
	Cap      time.Duration // also the most that a Retry-After is honoured with; 0: 5 s
	Notify   func(RetryNotice)
}

// RetryNotice says why and how long a client waits before it tries again.
type RetryNotice struct {
	Attempt int // that failed, from 1
	Wait    time.Duration
	Err     error
}

const (
	defaultRetryBase = 100 * time.Millisecond
	defaultRetryCap  = 5 * time.Second
)

func (r Retry) withDefaults() Retry {
	if r.Base <= 0 {
		r.Base = defaultRetryBase
	}
	if r.Cap <= 0 {
		r.Cap = defaultRetryCap
	}
	return r
}

// retrying is the state of one call's retries.
type retrying struct {
	Retry
	failed int
	waited time.Duration
}

func (r Retry) begin() *retrying { return &retrying{Retry: r} }

// after waits as long as a failure asks for and tells whether to try again.
func (r *retrying) after(ctx context.Context, err error, repeat bool) bool {
	r.failed++
	hint, temporary := temporary(err, repeat)
	if !temporary || r.failed >= r.Attempts {
		return false
	}
	wait := r.delay(hint)
	if r.MaxWait > 0 && r.waited+wait > r.MaxWait {
		return false
	}
	r.waited += wait
	if r.Notify != nil {
		r.Notify(RetryNotice{Attempt: r.failed, Wait: wait, Err: err})
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// delay is full jitter; a hint of the node is waited out first, up to Cap.
func (r *retrying) delay(hint time.Duration) time.Duration {
	ceiling := r.Cap
	if n := r.failed - 1; n < 32 && r.Base<<n > 0 {
		ceiling = min(r.Cap, r.Base<<n)
	}
	if hint > 0 { // spread those who were told the same
		return min(hint, r.Cap) + rand.N(min(ceiling, r.Base)+1)
	}
	return rand.N(ceiling + 1)
}

// temporary tells whether a failure may pass, and after how long at the least.
func temporary(err error, repeat bool) (hint time.Duration, ok bool) {
	var p *Problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			ok = p.Retryable && !errors.Is(err, store.ErrFull)
		case http.StatusRequestTimeout:
			ok = p.Retryable && repeat
		}
		return time.Duration(p.RetryAfterMS) * time.Millisecond, ok
	}
	return 0, repeat && (errors.Is(err, ErrUnreachable) || errors.Is(err, ErrConnLost))
}
