package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	rootTopic    = "micronode"
	maxTailWord  = 64
	sseKeepAlive = 15 * time.Second
)

// busTail answers GET /api/v1/bus/tail (contract §10): it ends when the client
// leaves, or when the node or this plane shuts down.
func (s *server) busTail(ctx context.Context, w *reply, r *http.Request) error {
	query, err := tailQueryOf(r)
	if err != nil {
		return err
	}
	ctx, done, err := s.tails.begin(ctx, w)
	if err != nil {
		return err
	}
	defer done()
	tail, err := s.ports.Tail(query)
	if err != nil {
		return err
	}
	defer tail.Close()

	h := w.Header()
	h["Cache-Control"] = headerNoStore
	h.Set("Vary", "Accept")
	h.Set("X-Accel-Buffering", "no")
	out := &eventWriter{w: w, sse: wantsSSE(r.Header)}
	h.Set("Content-Type", TypeNDJSON)
	if out.sse {
		h.Set("Content-Type", TypeSSE)
	}
	w.WriteHeader(http.StatusOK)
	if w.head {
		return nil
	}
	return out.follow(ctx, tail)
}

// eventWriter writes events as NDJSON or as server-sent events.
type eventWriter struct {
	w   *reply
	sse bool
	buf []byte
}

// follow copies events until the end. Only a client that takes no more is an error.
func (e *eventWriter) follow(ctx context.Context, tail Tail) error {
	if err := e.flush(); err != nil {
		return http.ErrAbortHandler
	}
	for {
		ev, err := e.next(ctx, tail)
		if authorityOf(ctx).still() != nil {
			return http.ErrAbortHandler // the capability is over, or nobody decides: nothing more is shown
		}
		switch {
		case err == nil:
			e.append(ev)
		case e.sse && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			e.buf = append(e.buf, ": keep-alive\n\n"...)
		default:
			return nil // the node or the client ends it: what was sent is whole
		}
		if err := e.flush(); err != nil {
			return http.ErrAbortHandler
		}
	}
}

func (e *eventWriter) next(ctx context.Context, tail Tail) (Event, error) {
	if e.sse {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, sseKeepAlive)
		defer cancel()
	}
	return tail.Next(ctx)
}

func (e *eventWriter) append(ev Event) {
	data, err := json.Marshal(ev)
	if err != nil { // data that is no JSON: the event still happened
		ev.Data = nil
		data, _ = json.Marshal(ev)
	}
	if !e.sse {
		e.buf = append(append(e.buf, data...), '\n')
		return
	}
	e.buf = append(e.buf, "id: "...)
	e.buf = strconv.AppendUint(e.buf, ev.Seq, 10)
	if ev.Kind != "" && !strings.ContainsAny(ev.Kind, "\r\n\x00") {
		e.buf = append(append(e.buf, "\nevent: "...), ev.Kind...)
	}
	e.buf = append(append(append(e.buf, "\ndata: "...), data...), "\n\n"...)
}

func (e *eventWriter) flush() error {
	if len(e.buf) > 0 {
		if _, err := e.w.Write(e.buf); err != nil {
			return err
		}
		e.buf = e.buf[:0]
	}
	return http.NewResponseController(e.w).Flush()
}

func wantsSSE(h http.Header) bool {
	for _, line := range h["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			kind, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(kind), TypeSSE) {
				return true
			}
		}
	}
	return false
}

func tailQueryOf(r *http.Request) (TailQuery, error) {
	q, err := queryOf(r, "topic", "since", "kind")
	if err != nil {
		return TailQuery{}, err
	}
	query := TailQuery{Topic: rootTopic, Kind: q.Get("kind")}
	if q.Has("topic") {
		query.Topic = q.Get("topic")
	}
	word, below := strings.CutPrefix(query.Topic, rootTopic+".")
	if query.Topic != rootTopic && (!below || !tailWord(word)) {
		return query, refuse(ErrBadRequest, "topic must be micronode, or one below it such as micronode.crash.")
	}
	if q.Has("kind") && !tailWord(query.Kind) {
		return query, refuse(ErrBadRequest, "kind must be the name of a kind of event, such as ServiceCrashed.")
	}
	if q.Has("since") {
		if err := query.since(q.Get("since")); err != nil {
			return query, err
		}
	}
	return query, query.resume(r.Header)
}

// since is a sequence number, or how far back.
func (t *TailQuery) since(v string) error {
	t.History = true
	if seq, err := strconv.ParseUint(v, 10, 64); err == nil {
		t.SinceSeq = seq
		return nil
	}
	back, err := time.ParseDuration(v)
	if err != nil || back < 0 {
		return refuse(ErrBadRequest, "since must be a duration such as 10m, or the seq of an event.")
	}
	t.Since = back
	return nil
}

// resume lets Last-Event-ID overrule since.
func (t *TailQuery) resume(h http.Header) error {
	v, present, err := single(h, "Last-Event-ID")
	if err != nil || !present {
		return err
	}
	seq, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return refuse(ErrBadRequest, "Last-Event-ID must be the seq of an event.")
	}
	t.History, t.SinceSeq, t.Since = true, seq, 0
	return nil
}

func tailWord(s string) bool {
	if s == "" || len(s) > maxTailWord {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
