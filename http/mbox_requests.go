package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"micronode/store/mbox"
)

const maxWait = 30 * time.Second // wait_ms, contract §3

// Examples of what the paths take, for problems.
const (
	shapeSend   = `{"topic":"jobs","payload_b64":"aGVsbG8="}`
	shapeRecv   = `{"topic":"jobs","max_messages":1,"wait_ms":10000}`
	shapeSettle = `{"receipt":"…"}`
	shapeKeep   = `{"topic":"jobs","limit":100}`
)

// judged is one item of a body: the value, or what is wrong with it.
type judged[T any] struct {
	value T
	err   error
}

// judge ends the reading of an item.
func judge[T any](r *reader, value *T, check func() error) judged[T] {
	if r.fault != nil {
		return judged[T]{err: r.fault}
	}
	err := invalid(check()) // may fill in the value
	return judged[T]{value: *value, err: err}
}

// invalid puts the words of mbox.ErrInvalid into a problem: they say what would
// be right.
func invalid(err error) error {
	if !errors.Is(err, mbox.ErrInvalid) {
		return err
	}
	text, _ := strings.CutPrefix(err.Error(), mbox.ErrInvalid.Error()+": ")
	return refuse(mbox.ErrInvalid, strings.ToUpper(text[:1])+text[1:]+".")
}

// readSend reads one message.
func readSend(r *reader) (judged[mbox.Message], error) {
	var m mbox.Message
	payload := false
	err := r.object("topic payload_b64 attrs delay_ms idem_key", func(name string) (known bool, err error) {
		switch name {
		case "topic":
			m.Topic, err = r.text(name)
		case "payload_b64":
			payload = true
			m.Payload, err = r.octets(name, mbox.MaxPayload)
		case "attrs":
			m.Attrs, err = r.texts(name, mbox.MaxAttrs)
		case "delay_ms":
			m.Delay, err = r.millis(name, 0, mbox.MaxDelay)
		case "idem_key":
			m.Key, err = r.text(name)
			if err == nil && m.Key == "" {
				r.flaw(ErrBadRequest, "idem_key must have 1 to 128 printable ASCII characters, or be left out.")
			}
		default:
			return false, nil
		}
		return true, err
	})
	if !payload {
		r.flaw(ErrBadRequest, "payload_b64 is missing. Say \"\" for an empty payload.")
	}
	return judge(r, &m, m.Check), err
}

// millis reads a whole number of milliseconds.
func (r *reader) millis(name string, low, high time.Duration) (time.Duration, error) {
	n, err := r.whole(name, low.Milliseconds(), high.Milliseconds())
	return time.Duration(n) * time.Millisecond, err
}

// wanted is the body of recv and recv/stream.
type wanted struct {
	mbox.Want
	wait time.Duration
}

// readRecv reads what a receiver asks for; a stream does not take wait_ms.
func readRecv(stream bool) func(r *reader) (judged[wanted], error) {
	known := "topic visibility_ms max_messages max_bytes wait_ms"
	if stream {
		known = "topic visibility_ms max_messages max_bytes"
	}
	return func(r *reader) (judged[wanted], error) {
		var w wanted
		err := r.object(known, func(name string) (known bool, err error) {
			var n int64
			switch name {
			case "topic":
				w.Topic, err = r.text(name)
			case "visibility_ms":
				w.Visibility, err = r.millis(name, mbox.MinVisibility, mbox.MaxVisibility)
			case "max_messages":
				n, err = r.whole(name, 1, mbox.MaxBatch)
				w.Max = int(n)
			case "max_bytes":
				n, err = r.whole(name, 1, mbox.MaxRecvBytes)
				w.MaxBytes = int(n)
			case "wait_ms":
				if stream {
					return false, nil
				}
				w.wait, err = r.millis(name, 0, maxWait)
			default:
				return false, nil
			}
			return true, err
		})
		return judge(r, &w, w.Check), err
	}
}

// readSettle reads one verdict.
func readSettle(v mbox.Verdict) func(r *reader) (judged[mbox.Settlement], error) {
	known := map[mbox.Verdict]string{
		mbox.Ack: "receipt msg_id", mbox.Nack: "receipt msg_id reason", mbox.Extend: "receipt msg_id visibility_ms",
	}[v]
	return func(r *reader) (judged[mbox.Settlement], error) {
		s := mbox.Settlement{Verdict: v}
		var receipt, id string
		err := r.object(known, func(name string) (_ bool, err error) {
			switch {
			case name == "receipt":
				receipt, err = r.text(name)
			case name == "msg_id":
				id, err = r.text(name)
			case name == "reason" && v == mbox.Nack:
				if s.Reason, err = r.text(name); len(s.Reason) > mbox.MaxReason {
					r.flaw(ErrBadRequest, "reason may have "+strconv.Itoa(mbox.MaxReason)+" bytes. Shorten it.")
				}
			case name == "visibility_ms" && v == mbox.Extend:
				s.Visibility, err = r.millis(name, mbox.MinVisibility, mbox.MaxVisibility)
			default:
				return false, nil
			}
			return true, err
		})
		return judge(r, &s, func() error { return addressed(&s, receipt, id) }), err
	}
}

// addressed fills in whose verdict it is: the receipt, and the message id where it
// was given too.
func addressed(s *mbox.Settlement, receipt, id string) (err error) {
	if receipt == "" {
		return refuse(mbox.ErrBadReceipt, "receipt is missing. It came with the message.")
	}
	if s.Receipt, err = mbox.ParseReceipt(receipt); err != nil || id == "" {
		return err
	}
	named, err := mbox.ParseID(id)
	if err != nil {
		return refuse(ErrBadRequest, "msg_id must be a ULID: 26 characters. The receipt alone is enough.")
	}
	if named != s.Receipt.ID {
		return refuse(mbox.ErrUnknown, "msg_id is not the message that this receipt is for. The receipt alone is enough.")
	}
	return nil
}

// readKeep reads an order about what lies in the queue.
func readKeep(one bool) func(r *reader) (judged[Keep], error) {
	known := "topic limit"
	if one {
		known = "topic limit msg_id"
	}
	return func(r *reader) (judged[Keep], error) {
		var k Keep
		id, only := "", false
		err := r.object(known, func(name string) (_ bool, err error) {
			var n int64
			switch {
			case name == "topic":
				k.Topic, err = r.text(name)
			case name == "limit":
				n, err = r.whole(name, 0, 1<<31-1)
				k.Limit = int(n)
			case name == "msg_id" && one:
				only = true
				id, err = r.text(name)
			default:
				return false, nil
			}
			return true, err
		})
		return judge(r, &k, func() (err error) {
			switch err := mbox.CheckTopic(k.Topic); {
			case err != nil, !only:
				return err
			case k.Limit != 0:
				return refuse(ErrBadRequest, "msg_id names one message and limit many. Send one of them.")
			}
			k.Only, err = onlyID(id)
			return err
		}), err
	}
}

// onlyID reads the id of the one message that is meant. The zero id would mean
// all of them, and is no message's.
func onlyID(text string) (mbox.ID, error) {
	id, err := mbox.ParseID(text)
	if err != nil || id == (mbox.ID{}) {
		return id, refuse(ErrBadRequest, "msg_id must be the ULID of a dead letter: 26 characters, as GET /mbox/dlq shows them.")
	}
	return id, nil
}

// idempotencyKey is the header's, with the quotes of the RFC's draft taken off
// (draft-ietf-httpapi-idempotency-key-header).
func idempotencyKey(h http.Header) (string, error) {
	v, present, err := single(h, "Idempotency-Key")
	if err != nil || !present {
		return "", err
	}
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	if v == "" {
		return "", refuse(ErrBadRequest, "Idempotency-Key is empty. Give it 1 to 128 printable ASCII characters, or leave it out.")
	}
	return v, nil
}

// keyed gives a message the header's key.
func keyed(m judged[mbox.Message], key string) judged[mbox.Message] {
	switch {
	case m.err != nil || key == "":
	case m.value.Key != "" && m.value.Key != key:
		m.err = refuse(ErrBadRequest, "Idempotency-Key and idem_key differ. Send one of them, or the same twice.")
	default:
		m.value.Key = key
		m.err = invalid(m.value.Check())
	}
	return m
}
