package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"micronode/store"
)

var (
	// ErrUnreachable says that no connection to the node could be made: nothing was sent.
	ErrUnreachable = errors.New("node not reachable")
	// ErrConnLost says that the connection broke, or no answer came in time,
	// after a request was begun: it may or may not have been carried out.
	ErrConnLost = errors.New("connection to the node lost")
)

// wireError names what went wrong below HTTP. A cancelled call stays a
// cancelled call.
func wireError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var where *url.Error
	if errors.As(err, &where) {
		err = where.Err // its text repeats the URL
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if connLost(err) {
		return fmt.Errorf("%w: %w", ErrConnLost, err)
	}
	return err
}

func connLost(err error) bool {
	var netErr net.Error
	if errors.As(err, &netErr) { // a reset, a broken pipe, a timeout of ours
		return true
	}
	for _, kind := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// unsure tells a failure after which the call may have been carried out: its
// answer was lost, or the actor that had it in hand went down or was too slow.
func unsure(err error) bool {
	return errors.Is(err, ErrConnLost) || errors.Is(err, store.ErrNotReady) || errors.Is(err, ErrDeadline)
}

// readProblem turns a refusal into a *Problem and closes it. What is no problem
// document (HEAD, a proxy, the HTTP layer itself) is read by its status.
func readProblem(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	p := &Problem{}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil || json.Unmarshal(text, p) != nil || p.Code == "" {
		*p = problemByStatus(resp.StatusCode)
	}
	p.Status = resp.StatusCode
	if p.CorrID == "" {
		p.CorrID = resp.Header.Get("X-Corr-ID")
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); p.RetryAfterMS == 0 && err == nil && s > 0 {
		p.RetryAfterMS = (time.Duration(s) * time.Second).Milliseconds()
	}
	return p
}

// ErrorOf reads the code and the body of an OAP answer as the client of HTTP reads
// its own (contract §5: one body on both): a *Problem.
func ErrorOf(code uint16, body []byte) error {
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		*p = problemByStatus(int(code))
	}
	p.Status = int(code)
	return p
}

// problemByStatus reads the table of kinds by status.
func problemByStatus(status int) Problem {
	for i := range kinds {
		if k := &kinds[i]; k.status == status {
			return Problem{Title: k.title, Status: status, Detail: k.detail, Code: k.code, Reason: k.reason, Retryable: k.retryable}
		}
	}
	text := http.StatusText(status)
	if text == "" {
		text = "Unknown answer"
	}
	return Problem{
		Title: text, Status: status, Code: "unknown", Retryable: status == http.StatusGatewayTimeout,
		Detail: fmt.Sprintf("The answer was %d without a problem document; is this address a micronode?", status),
	}
}

// Error says what the node refused, for logs and callers that look no deeper.
func (p *Problem) Error() string {
	text := fmt.Sprintf("%s (%d %s", p.Title, p.Status, p.Code)
	if p.Reason != "" && p.Reason != p.Code {
		text += ", " + p.Reason
	}
	if p.CorrID != "" {
		text += ", corr_id " + p.CorrID
	}
	return text + ")"
}

// Unwrap gives the sentinel that the node refused with, so that errors.Is sees
// through the wire; nil for a code of a newer node.
func (p *Problem) Unwrap() error { return sentinelFor(p.Code, p.Reason) }
