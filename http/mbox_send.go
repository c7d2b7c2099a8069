package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"micronode/store"
	"micronode/store/mbox"
)

// mboxSend answers POST /mbox/send: one message, or an array with one verdict
// for each.
func (s *server) mboxSend(ctx context.Context, w *reply, r *http.Request) error {
	items, array, err := s.sendOf(w, r)
	if err != nil {
		return err
	}
	ctx, cancel := s.timely(ctx)
	defer cancel()
	verdicts, err := s.sendAll(ctx, w.corrID, items)
	switch {
	case err != nil:
		return err
	case r.Context().Err() != nil:
		return r.Context().Err() // nobody is there to be told
	case array:
		s.writeVerdicts(w, len(verdicts), func(i int) error { return verdicts[i].Err },
			func(b []byte, i int) []byte { return appendSent(b, verdicts[i].Sent) })
		return nil
	case verdicts[0].Err != nil:
		return verdicts[0].Err
	}
	w.writeBytes(append(appendSent(append(make([]byte, 0, 64), '{'), verdicts[0].Sent), "}\n"...))
	return nil
}

// sendOf reads the header and the body of a send.
func (s *server) sendOf(w *reply, r *http.Request) (items []judged[mbox.Message], array bool, err error) {
	key, err := idempotencyKey(r.Header)
	if err != nil {
		return nil, false, err
	}
	err = s.readMailbox(w, r, func(raw []byte) (err error) {
		items, array, err = readItems(raw, shapeSend, true, readSend)
		return err
	})
	switch {
	case err != nil:
	case array && key != "":
		err = refuse(ErrBadRequest, "Idempotency-Key does not say which message of the array it is for. Put idem_key into each.")
	case !array:
		items[0] = keyed(items[0], key)
	}
	return items, array, err
}

// sendAll hands in what is well formed and says of everything what became of it.
func (s *server) sendAll(ctx context.Context, corrID string, items []judged[mbox.Message]) ([]SendVerdict, error) {
	verdicts := make([]SendVerdict, len(items))
	good := make([]mbox.Message, 0, len(items))
	at := make([]int, 0, len(items))
	for i := range items {
		m, err := &items[i].value, items[i].err
		if err == nil {
			err = mayTopic(ctx, m.Topic)
		}
		switch {
		case err != nil:
			verdicts[i].Err = err
		case s.ports.Mailbox.RequireKey && m.Key == "":
			verdicts[i].Err = mbox.ErrKeyNeeded
		default:
			m.Hash, m.CorrID = store.Sum(m.Payload), corrID
			good, at = append(good, *m), append(at, i)
		}
	}
	if len(good) == 0 {
		return verdicts, nil
	}
	got := s.ports.Mailbox.Queue.Send(ctx, good)
	if len(got) != len(good) {
		return nil, errMiscounted
	}
	for k, v := range got {
		verdicts[at[k]] = v
	}
	return verdicts, nil
}

// appendSent appends the members of a [SendAnswer].
func appendSent(b []byte, sent mbox.Sent) []byte {
	b = append(b, `"msg_id":"`...)
	b = appendID(b, sent.ID)
	b = append(b, `","duplicate":`...)
	return strconv.AppendBool(b, sent.Duplicate)
}

// writeVerdicts answers an array: for each item what members appends, or its
// problem, which counts as any refusal does.
func (s *server) writeVerdicts(w *reply, n int, fault func(i int) error, members func(b []byte, i int) []byte) {
	b := make([]byte, 0, 96*n+2)
	for i := range n {
		sep := byte(',')
		if i == 0 {
			sep = '['
		}
		b = append(b, sep)
		if err := fault(i); err != nil {
			p, k := problemOf(err, w.corrID)
			s.rejected(k)
			b = appendProblem(b, &p)
			continue
		}
		b = members(append(b, `{"status":200,`...), i)
		b = append(b, '}')
	}
	w.writeBytes(append(b, "]\n"...))
}
