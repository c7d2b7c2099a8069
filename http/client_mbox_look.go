package httpapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"micronode/store/mbox"
)

// topicsPage is how many topics [Client.Topics] asks for at a time: the most
// that the node gives.
const topicsPage = 1000

// TopicsPage asks for one page of the topics, by name: up to limit (1 to 1000)
// after a cursor, "" for the first page.
func (c *Client) TopicsPage(ctx context.Context, cursor string, limit int) (TopicList, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	var page TopicList
	err := c.look(ctx, "/mbox/topics", query, &page)
	return page, err
}

// Topics yields every topic that holds messages, by name, page by page. An
// error is the last thing that it yields.
func (c *Client) Topics(ctx context.Context) iter.Seq2[TopicState, error] {
	return pages(func(cursor string) ([]TopicState, string, error) {
		page, err := c.TopicsPage(ctx, cursor, topicsPage)
		return page.Topics, page.Cursor, err
	})
}

// Peek shows up to limit messages of a topic (1 to 256) and touches no lease.
func (c *Client) Peek(ctx context.Context, topic string, limit int) ([]PeekedMessage, error) {
	var a PeekAnswer
	err := c.look(ctx, "/mbox/peek", url.Values{"topic": {topic}, "limit": {strconv.Itoa(limit)}}, &a)
	return a.Messages, err
}

// DeadPage asks for one page of a topic's dead letters, oldest death first: up
// to limit (1 to 256) after a cursor, "" for the first page.
func (c *Client) DeadPage(ctx context.Context, topic, cursor string, limit int) (DLQAnswer, error) {
	query := url.Values{"topic": {topic}, "limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	var page DLQAnswer
	err := c.look(ctx, "/mbox/dlq", query, &page)
	return page, err
}

// DeadLetters yields all dead letters of a topic, oldest death first, page by
// page. An error is the last thing that it yields.
func (c *Client) DeadLetters(ctx context.Context, topic string) iter.Seq2[DeadMessage, error] {
	return pages(func(cursor string) ([]DeadMessage, string, error) {
		page, err := c.DeadPage(ctx, topic, cursor, mbox.MaxBatch)
		return page.Messages, page.Cursor, err
	})
}

// DeadLetter asks for one dead letter, or says mbox.ErrUnknown.
func (c *Client) DeadLetter(ctx context.Context, topic, id string) (DeadMessage, error) {
	var page DLQAnswer
	if err := c.look(ctx, "/mbox/dlq", url.Values{"topic": {topic}, "msg_id": {id}}, &page); err != nil {
		return DeadMessage{}, err
	}
	if len(page.Messages) != 1 {
		return DeadMessage{}, fmt.Errorf("%d dead letters came for one msg_id (is this a micronode?)", len(page.Messages))
	}
	return page.Messages[0], nil
}

// Reprocess puts dead letters back into their line with their attempts at zero,
// oldest death first, and returns how many: k.Limit of them, all (0), or the one
// that k.MsgID names (mbox.ErrUnknown). As every change of what lies in the
// mailbox it is never repeated: each counts.
func (c *Client) Reprocess(ctx context.Context, k KeepRequest) (int, error) {
	var a MovedAnswer
	err := c.mailbox(ctx, wireCall{path: "/mbox/dlq/reprocess", once: true}, k, &a)
	return a.Moved, err
}

// PurgeDead deletes dead letters for good and returns how many. It takes what
// [Client.Reprocess] takes.
func (c *Client) PurgeDead(ctx context.Context, k KeepRequest) (int, error) {
	return c.purge(ctx, "/mbox/dlq/purge", k)
}

// Purge deletes ready and delayed messages of a topic for good and returns how
// many. What is leased stays with its consumer. k.MsgID is not used here.
func (c *Client) Purge(ctx context.Context, k KeepRequest) (int, error) {
	return c.purge(ctx, "/mbox/purge", k)
}

func (c *Client) purge(ctx context.Context, path string, k KeepRequest) (int, error) {
	var a PurgedAnswer
	err := c.mailbox(ctx, wireCall{path: path, once: true}, k, &a)
	return a.Purged, err
}

// look asks a question that changes nothing.
func (c *Client) look(ctx context.Context, path string, query url.Values, answer any) error {
	return c.askMailbox(ctx, wireCall{method: http.MethodGet, path: path, query: query, repeat: true}, answer)
}

// pages yields the items of all pages. ask returns one page and the cursor of
// the next, "" after the last.
func pages[T any](ask func(cursor string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			items, next, err := ask(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			if next == cursor {
				var none T
				yield(none, errors.New("the node's cursor does not move on (is this a micronode?)"))
				return
			}
			cursor = next
		}
	}
}
