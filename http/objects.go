package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"micronode/store"
)

// Pages of GET /o.
const (
	defaultPage = 100
	maxPage     = store.MaxPage
)

const objectPrefix = "/o/"

// addressOf reads the address out of the path: here and nowhere deeper.
func addressOf(r *http.Request) (store.Address, error) {
	return store.ParseAddress(strings.TrimPrefix(r.URL.Path, objectPrefix))
}

// remove answers DELETE /o/{addr}.
func (s *server) remove(ctx context.Context, w *reply, r *http.Request) error {
	a, err := addressOf(r)
	if err != nil {
		return err
	}
	if err := s.ports.Objects.Delete(ctx, a); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// list answers GET /o.
func (s *server) list(ctx context.Context, w *reply, r *http.Request) error {
	after, limit, err := pageOf(r)
	if err != nil {
		return err
	}
	lister, ok := s.ports.Objects.(store.Lister)
	if !ok {
		return ErrNotSupported
	}
	infos, err := lister.List(ctx, after, limit)
	if err != nil {
		return err
	}
	page := Listing{Objects: make([]Listed, 0, len(infos))}
	for _, info := range infos {
		item := Listed{Address: info.Address.String(), Size: info.Size}
		if !info.Expires.IsZero() {
			item.Expires = &info.Expires
		}
		page.Objects = append(page.Objects, item)
	}
	if page.Cursor, err = nextCursor(ctx, lister, infos, limit); err != nil {
		return err
	}
	return w.writeJSON(http.StatusOK, page)
}

// nextCursor is the last address of a full page, unless nothing follows it.
func nextCursor(ctx context.Context, lister store.Lister, infos []store.Info, limit int) (string, error) {
	if len(infos) < limit {
		return "", nil
	}
	last := infos[len(infos)-1].Address
	more, err := lister.List(ctx, last, 1)
	if err != nil || len(more) == 0 {
		return "", err
	}
	return last.String(), nil
}

func pageOf(r *http.Request) (after store.Address, limit int, err error) {
	q, err := queryOf(r, "cursor", "limit")
	if err != nil {
		return after, 0, err
	}
	limit = defaultPage
	if q.Has("limit") {
		limit, err = strconv.Atoi(q.Get("limit"))
		if err != nil || limit < 1 || limit > maxPage {
			return after, 0, refuse(ErrBadRequest, "limit must be a number from 1 to "+strconv.Itoa(maxPage)+".")
		}
	}
	if cursor := q.Get("cursor"); cursor != "" {
		if after, err = store.ParseAddress(cursor); err != nil {
			return after, 0, refuse(ErrBadRequest, "cursor is not one that this node gave. Pass back the cursor of the page before, or none for the first page.")
		}
	}
	return after, limit, nil
}

// queryOf reads a query strictly: known parameters, each at most once.
func queryOf(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(ErrBadRequest, "The query is malformed: escape it as in a URL.")
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return nil, refuse(ErrBadRequest, "This path takes the query parameters "+strings.Join(known, ", ")+" and no other.")
		}
		if len(values) != 1 {
			return nil, refuse(ErrBadRequest, "The query parameter "+name+" came more than once. Send it once.")
		}
	}
	return q, nil
}
