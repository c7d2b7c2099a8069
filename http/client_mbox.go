package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

// Bounds of the mailbox's answers, in bytes: a full batch with all the attrs
// that messages may have, and one envelope.
const (
	maxMailboxAnswer = 64 << 20
	maxEnvelopeLine  = 4 << 20
	// streamPatience is how long the first line of a stream's answer may take
	// on top of the answer timeout: as a poll that waits its longest.
	streamPatience = 30 * time.Second
)

// Send puts one message into the mailbox (contract §3). It is kept from the
// moment Send returns nil.
//
// With an idempotency key a send may be repeated, and the client does so (see
// [Retry]); without one it is repeated only after refusals that say that it was
// not accepted. Errors: mbox.ErrKeyReused, mbox.ErrFull, mbox.ErrBytes,
// mbox.ErrInvalid, store.ErrReadOnly while the plane takes no writes.
func (c *Client) Send(ctx context.Context, m SendRequest) (SendAnswer, error) {
	var a SendAnswer
	err := c.mailbox(ctx, wireCall{path: "/mbox/send", repeat: m.IdemKey != "", sure: m.IdemKey == ""}, m, &a)
	return a, err
}

// SendOutcome is what became of one message of a SendBatch: its answer, or why
// it was not accepted.
type SendOutcome struct {
	Answer SendAnswer
	Err    *Problem
}

// SendBatch puts 1 to 256 messages into the mailbox, in order, and returns one
// outcome for each; what is wrong with one does not stop the others. It repeats
// the call as a whole as [Client.Send] does (when every message has a key), and
// never a single message that was refused.
func (c *Client) SendBatch(ctx context.Context, items []SendRequest) ([]SendOutcome, error) {
	keyed := true
	for i := range items {
		keyed = keyed && items[i].IdemKey != ""
	}
	var verdicts []struct {
		Problem
		MsgID     string `json:"msg_id"`
		Duplicate bool   `json:"duplicate"`
	}
	if err := c.mailbox(ctx, wireCall{path: "/mbox/send", repeat: keyed, sure: !keyed}, items, &verdicts); err != nil {
		return nil, err
	}
	if len(verdicts) != len(items) {
		return nil, miscounted(len(verdicts), len(items))
	}
	outcomes := make([]SendOutcome, len(verdicts))
	for i := range verdicts {
		v := &verdicts[i]
		outcomes[i].Err = v.refusal()
		if outcomes[i].Err == nil {
			outcomes[i].Answer = SendAnswer{Status: v.Status, MsgID: v.MsgID, Duplicate: v.Duplicate}
		}
	}
	return outcomes, nil
}

func miscounted(got, want int) error {
	return fmt.Errorf("%d verdicts came for a batch of %d (is this a micronode?)", got, want)
}

// refusal is an item of an answer to a batch, when it is a problem and no success.
func (p *Problem) refusal() *Problem {
	if p.Status/100 == 2 {
		return nil
	}
	return p
}

// Recv leases messages: none is an empty list and no error. It waits for the
// first as long as r.WaitMS says, over the answer timeout if need be. A Recv
// whose connection is lost is not repeated: what it had leased comes back by
// itself when the leases end. Errors: mbox.ErrInflight, mbox.ErrInvalid.
func (c *Client) Recv(ctx context.Context, r RecvRequest) ([]Envelope, error) {
	call := wireCall{path: "/mbox/recv"}
	if r.WaitMS != nil {
		call.patience = time.Duration(*r.WaitMS) * time.Millisecond
	}
	var a RecvAnswer
	err := c.mailbox(ctx, call, r, &a)
	return a.Messages, err
}

// RecvStream yields messages as they become ready, each under a lease. Settle
// them meanwhile with [Client.Ack] or [Client.Nack]: the node holds back as soon
// as r.MaxMessages are out. It ends without an error when the node ends the
// stream, and with one, its last, when the stream breaks or ctx is cancelled. It
// does not connect again: the caller does.
func (c *Client) RecvStream(ctx context.Context, r RecvRequest) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		call, err := mailboxCall(wireCall{path: "/mbox/recv/stream", patience: streamPatience}, r)
		if err != nil {
			yield(Envelope{}, err)
			return
		}
		call.header["Accept"] = []string{TypeNDJSON}
		resp, err := c.do(ctx, call)
		if err != nil {
			yield(Envelope{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxEnvelopeLine)
		lines.Split(wholeLines)
		for lines.Scan() {
			line := bytes.TrimSpace(lines.Bytes())
			if len(line) == 0 {
				continue // a sign of life
			}
			var e Envelope
			if err := json.Unmarshal(line, &e); err != nil {
				yield(Envelope{}, fmt.Errorf("stream: line is not an envelope: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Envelope{}, wireError(ctx, err))
		}
	}
}

// wholeLines is bufio.ScanLines for lines that all have an end: what follows
// the last is a line that was cut.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// mailbox carries out a POST with a JSON body and decodes its answer.
func (c *Client) mailbox(ctx context.Context, call wireCall, body, answer any) error {
	call, err := mailboxCall(call, body)
	if err != nil {
		return err
	}
	return c.askMailbox(ctx, call, answer)
}

// mailboxCall fills in what all calls of the mailbox with a body have in common.
func mailboxCall(call wireCall, body any) (wireCall, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return call, fmt.Errorf("%w: %w", ErrBadRequest, err) // text that is no UTF-8
	}
	call.method = http.MethodPost
	call.header = http.Header{"Content-Type": {TypeJSON}}
	call.body = func() (io.ReadCloser, int64, error) {
		return io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil
	}
	return call, nil
}

// askMailbox carries a call out and decodes its answer, which may be large.
// Members that this client does not know are left alone: the node may be newer.
func (c *Client) askMailbox(ctx context.Context, call wireCall, answer any) error {
	resp, err := c.do(ctx, call)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := decodeMailbox(resp, answer); err != nil {
		if connLost(err) || ctx.Err() != nil {
			return wireError(ctx, err)
		}
		return err
	}
	return nil
}

func decodeMailbox(resp *http.Response, answer any) error {
	var text bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= maxMailboxAnswer {
		text.Grow(int(n) + bytes.MinRead)
	}
	switch n, err := text.ReadFrom(io.LimitReader(resp.Body, maxMailboxAnswer+1)); {
	case err != nil:
		return err
	case n > maxMailboxAnswer:
		return errors.New("the answer is larger than 64 MiB: ask for fewer messages at a time")
	}
	if err := json.Unmarshal(text.Bytes(), answer); err != nil {
		return fmt.Errorf("answer is not the JSON that was asked for (is this a micronode?): %w", err)
	}
	return nil
}
