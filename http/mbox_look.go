package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"micronode/store/mbox"
)

// Pages of what the mailbox shows.
const (
	defaultTopics = 100
	maxTopics     = 1000
	defaultPeek   = 10
)

// mboxTopics answers GET /mbox/topics.
func (s *server) mboxTopics(ctx context.Context, w *reply, r *http.Request) error {
	if err := mayTopic(ctx, ""); err != nil {
		return err
	}
	q, err := queryOf(r, "cursor", "limit")
	if err != nil {
		return err
	}
	limit, err := limitOf(q.Get("limit"), q.Has("limit"), defaultTopics, maxTopics)
	if err != nil {
		return err
	}
	cursor := q.Get("cursor")
	if cursor != "" && mbox.CheckTopic(cursor) != nil {
		return strangeCursor()
	}
	all := s.ports.Mailbox.View.Topics(cursor, limit+1)
	page := TopicList{Topics: make([]TopicState, 0, len(all))}
	for i, t := range all {
		if i == limit {
			page.Cursor = all[i-1].Name
			break
		}
		page.Topics = append(page.Topics, TopicState{
			Topic: t.Name, Ready: t.Ready, Delayed: t.Delayed, Leased: t.Leased, Dead: t.Dead, Bytes: t.Bytes, OldestMS: t.Oldest.Milliseconds(),
		})
	}
	return w.writeJSON(http.StatusOK, page)
}

func limitOf(text string, present bool, normal, most int) (int, error) {
	if !present {
		return normal, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, refuse(ErrBadRequest, "limit must be a number from 1 to "+strconv.Itoa(most)+".")
	}
	return n, nil
}

// mboxPeek answers GET /mbox/peek.
func (s *server) mboxPeek(ctx context.Context, w *reply, r *http.Request) error {
	q, err := queryOf(r, "topic", "limit")
	if err != nil {
		return err
	}
	limit, err := limitOf(q.Get("limit"), q.Has("limit"), defaultPeek, mbox.MaxBatch)
	if err == nil {
		err = invalid(mbox.CheckTopic(q.Get("topic")))
	}
	if err == nil {
		err = mayTopic(ctx, q.Get("topic"))
	}
	if err != nil {
		return err
	}
	all := s.ports.Mailbox.View.Peek(q.Get("topic"), limit)
	b, _ := appendPage([]byte(`{"messages":[`), len(all),
		func(i int) int { return len(all[i].Payload) }, func(b []byte, i int) []byte { return appendWaiting(b, &all[i]) })
	w.writeBytes(append(b, "]}\n"...))
	return nil
}

// appendPage appends items, with commas, until the soft bound of payload bytes,
// and returns how many there were.
func appendPage(b []byte, n int, size func(i int) int, item func(b []byte, i int) []byte) ([]byte, int) {
	bytes := 0
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, i)
		if bytes += size(i); bytes >= mbox.DefaultBytes {
			return b, i + 1
		}
	}
	return b, n
}

// mboxDead answers GET /mbox/dlq.
func (s *server) mboxDead(ctx context.Context, w *reply, r *http.Request) error {
	q, err := queryOf(r, "topic", "cursor", "limit", "msg_id")
	if err != nil {
		return err
	}
	topic := q.Get("topic")
	if err := invalid(mbox.CheckTopic(topic)); err != nil {
		return err
	}
	if err := mayTopic(ctx, topic); err != nil {
		return err
	}
	limit, err := limitOf(q.Get("limit"), q.Has("limit"), mbox.DefaultBatch, mbox.MaxBatch)
	if err != nil {
		return err
	}
	ask, err := deadQuery(q, limit+1)
	if err != nil {
		return err
	}
	all, err := s.ports.Mailbox.View.Dead(topic, ask)
	if err != nil {
		return err
	}
	b := appendText([]byte(`{"topic":`), topic)
	b, n := appendPage(append(b, `,"messages":[`...), min(limit, len(all)),
		func(i int) int { return len(all[i].Payload) }, func(b []byte, i int) []byte { return appendDead(b, &all[i]) })
	b = append(b, ']')
	if n < len(all) {
		b = append(appendID(append(b, `,"cursor":"`...), all[n-1].ID), '"')
	}
	b = appendText(append(b, `,"dlq_profile":`...), s.ports.Mailbox.Profile)
	w.writeBytes(append(b, "}\n"...))
	return nil
}

// deadQuery is what a query asks for: a page, or one message.
func deadQuery(q url.Values, limit int) (ask DeadQuery, err error) {
	ask.Limit = limit
	if cursor := q.Get("cursor"); cursor != "" {
		if ask.After, err = mbox.ParseID(cursor); err != nil {
			return ask, strangeCursor()
		}
	}
	if !q.Has("msg_id") {
		return ask, nil
	}
	if q.Has("cursor") || q.Has("limit") {
		return ask, refuse(ErrBadRequest, "msg_id names one message, cursor and limit a page. Send one or the other.")
	}
	ask.Only, err = onlyID(q.Get("msg_id"))
	return ask, err
}

func strangeCursor() error {
	return refuse(ErrBadRequest, "cursor is not one that this node gave. Pass back the cursor of the page before, or none for the first page.")
}

// mboxKeep answers the orders about what lies in the queue: {"moved":n} or
// {"purged":n}.
func (s *server) mboxKeep(word string, one bool, do func(ctx context.Context, k Keep) (int, error)) handler {
	return func(ctx context.Context, w *reply, r *http.Request) error {
		return s.readMailbox(w, r, func(raw []byte) error {
			items, _, err := readItems(raw, shapeKeep, false, readKeep(one))
			if err == nil {
				err = items[0].err
			}
			if err == nil {
				err = mayTopic(ctx, items[0].value.Topic)
			}
			if err != nil {
				return err
			}
			ctx, cancel := s.timely(ctx)
			defer cancel()
			n, err := do(ctx, items[0].value)
			if err != nil {
				return err
			}
			w.writeBytes(append(strconv.AppendInt([]byte(`{"`+word+`":`), int64(n), 10), "}\n"...))
			return nil
		})
	}
}
