package httpapi

import (
	"context"
	"errors"
	"time"

	"micronode/store/mbox"
)

// Ack tells the mailbox that a message is done with (contract §3). Errors:
// mbox.ErrLeaseLost when the lease is over and the message may have gone to
// somebody else, mbox.ErrUnknown, mbox.ErrSettled when this receipt was used
// before; but not when it was this very call that used it and its first answer
// was lost. It may be repeated, and the client does so (see [Retry]).
func (c *Client) Ack(ctx context.Context, s SettleRequest) error {
	_, err := c.settle(ctx, "/mbox/ack", s, mbox.ErrSettled)
	return err
}

// Nack gives a message back: it comes again after a backoff, or is dead after
// its last attempt. Reason becomes its last error. Errors: as for [Client.Ack];
// a lease that is over is none when the client had to repeat the call.
func (c *Client) Nack(ctx context.Context, s SettleRequest) error {
	_, err := c.settle(ctx, "/mbox/nack", s, mbox.ErrLeaseLost)
	return err
}

// Extend counts a lease anew from now, for s.VisibilityMS or the node's default,
// and returns when it ends by the node's wall clock. Errors: as for [Client.Ack].
func (c *Client) Extend(ctx context.Context, s SettleRequest) (time.Time, error) {
	a, err := c.settle(ctx, "/mbox/extend", s, nil)
	if err != nil || a.Deadline == nil {
		return time.Time{}, err
	}
	return *a.Deadline, nil
}

// settle carries out one verdict. done is the error that says that an earlier
// attempt of the same call had succeeded.
func (c *Client) settle(ctx context.Context, path string, s SettleRequest, done error) (SettleAnswer, error) {
	var a SettleAnswer
	unsure := false
	err := c.mailbox(ctx, wireCall{path: path, repeat: true, unsure: &unsure}, s, &a)
	if err != nil && unsure && done != nil && errors.Is(err, done) {
		return SettleAnswer{OK: true}, nil
	}
	return a, err
}

// SettleOutcome is what became of one receipt of an AckBatch; Err is nil when
// the message is done with.
type SettleOutcome struct{ Err *Problem }

// AckBatch acknowledges 1 to 256 receipts and returns one outcome for each, as
// [Client.Ack] would: what is wrong with one does not stop the others.
func (c *Client) AckBatch(ctx context.Context, items []SettleRequest) ([]SettleOutcome, error) {
	var verdicts []struct {
		Problem
		OK bool `json:"ok"`
	}
	unsure := false
	if err := c.mailbox(ctx, wireCall{path: "/mbox/ack", repeat: true, unsure: &unsure}, items, &verdicts); err != nil {
		return nil, err
	}
	if len(verdicts) != len(items) {
		return nil, miscounted(len(verdicts), len(items))
	}
	outcomes := make([]SettleOutcome, len(verdicts))
	for i := range verdicts {
		refusal := verdicts[i].refusal()
		if refusal != nil && unsure && errors.Is(refusal, mbox.ErrSettled) {
			refusal = nil
		}
		outcomes[i].Err = refusal
	}
	return outcomes, nil
}
