package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
)

// maxEventLine bounds one line of a tail, in bytes.
const maxEventLine = 1 << 20

// TailOptions select events (contract §10). Empty fields select all there is
// from now on.
type TailOptions struct {
	Topic string // micronode, or one topic below it
	Kind  string
	Since string // a duration such as 10m, or the sequence number to go on after
}

// Tail yields events as they happen. It ends without an error when the node
// ends the stream, and with one, its last, when the stream breaks or ctx is
// cancelled. It does not resume: the caller goes on after the last Seq.
func (c *Client) Tail(ctx context.Context, opt TailOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		resp, err := c.do(ctx, wireCall{
			method: http.MethodGet, path: "/api/v1/bus/tail", query: opt.query(), repeat: true,
			header: http.Header{"Accept": {TypeNDJSON}},
		})
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxEventLine)
		for lines.Scan() {
			line := bytes.TrimSpace(lines.Bytes())
			if len(line) == 0 {
				continue // a sign of life
			}
			var e Event
			if err := json.Unmarshal(line, &e); err != nil {
				yield(Event{}, fmt.Errorf("tail: line is not an event: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Event{}, wireError(ctx, err))
		}
	}
}

func (o TailOptions) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"topic": o.Topic, "kind": o.Kind, "since": o.Since} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}
