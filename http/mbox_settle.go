package httpapi

import (
	"context"
	"errors"
	"net/http"

	"micronode/http/policy"
	"micronode/store/mbox"
)

// errMiscounted says that the queue broke its word: a verdict for each item.
var errMiscounted = errors.New("the mailbox gave another number of verdicts than it was given items")

// mboxSettle answers POST /mbox/ack, /mbox/nack and /mbox/extend; ack takes an
// array too.
func (s *server) mboxSettle(v mbox.Verdict) handler {
	one := readSettle(v)
	return func(ctx context.Context, w *reply, r *http.Request) error {
		var items []judged[mbox.Settlement]
		var array bool
		if err := s.readMailbox(w, r, func(raw []byte) (err error) {
			items, array, err = readItems(raw, shapeSettle, v == mbox.Ack, one)
			return err
		}); err != nil {
			return err
		}
		ctx, cancel := s.timely(ctx)
		defer cancel()
		verdicts, err := s.settleAll(ctx, items)
		switch {
		case err != nil:
			return err
		case r.Context().Err() != nil:
			return r.Context().Err() // nobody is there to be told
		case array:
			s.writeVerdicts(w, len(verdicts), func(i int) error { return verdicts[i].Err },
				func(b []byte, _ int) []byte { return append(b, `"ok":true`...) })
			return nil
		case verdicts[0].Err != nil:
			return verdicts[0].Err
		}
		b := append(make([]byte, 0, 64), `{"ok":true`...)
		if v == mbox.Extend {
			b = appendTime(append(b, `,"deadline":`...), verdicts[0].Deadline)
		}
		w.writeBytes(append(b, "}\n"...))
		return nil
	}
}

// settleAll hands in what is well formed and says of everything what became of it.
func (s *server) settleAll(ctx context.Context, items []judged[mbox.Settlement]) ([]SettleVerdict, error) {
	if a := authorityOf(ctx); a != nil {
		if err := a.decide(policy.Topic, "*"); err != nil {
			return nil, err
		}
	}
	verdicts := make([]SettleVerdict, len(items))
	may := mayAck(ctx)
	good := make([]mbox.Settlement, 0, len(items))
	at := make([]int, 0, len(items))
	for i := range items {
		if verdicts[i].Err = items[i].err; items[i].err == nil {
			items[i].value.May = may
			good, at = append(good, items[i].value), append(at, i)
		}
	}
	if len(good) == 0 {
		return verdicts, nil
	}
	got := s.ports.Mailbox.Queue.Settle(ctx, good)
	if len(got) != len(good) {
		return nil, errMiscounted
	}
	for k, v := range got {
		verdicts[at[k]] = v
	}
	return verdicts, nil
}
