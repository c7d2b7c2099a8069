package httpapi

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"micronode/store"
)

// ListPage asks for one page of the listing: up to limit objects (1..1000)
// after a cursor, "" for the first page.
func (c *Client) ListPage(ctx context.Context, cursor string, limit int) (Listing, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	var page Listing
	err := c.ask(ctx, wireCall{method: http.MethodGet, path: "/o", query: query, repeat: true}, &page)
	return page, err
}

// List yields every object in ascending order of address, page by page. An
// error is the last thing that it yields.
func (c *Client) List(ctx context.Context) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		for cursor := ""; ; {
			page, err := c.ListPage(ctx, cursor, store.MaxPage)
			if err != nil {
				yield(Listed{}, err)
				return
			}
			for _, o := range page.Objects {
				if !yield(o, nil) {
					return
				}
			}
			if page.Cursor == "" {
				return
			}
			cursor = page.Cursor
		}
	}
}
