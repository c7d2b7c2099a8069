package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"micronode/store/mbox"
)

// Messages leave as what encoding/json would make of their wire structs, but
// are written straight into the buffer: they are the bulk of what the mailbox sends.

// appendEnvelope appends a delivery as an [Envelope].
func appendEnvelope(b []byte, d *mbox.Delivery) []byte {
	b = appendMessage(b, d)
	b = append(b, `,"receipt":"`...)
	b = d.Receipt.AppendTo(b)
	b = append(b, `","deadline":`...)
	b = appendTime(b, d.Deadline)
	return append(b, '}')
}

// appendDead appends a dead letter as a [DeadMessage].
func appendDead(b []byte, d *mbox.DeadLetter) []byte {
	b = appendMessage(b, &d.Delivery)
	b = appendText(append(b, `,"reason":`...), d.Reason)
	b = appendText(append(b, `,"last_error":`...), d.LastError)
	b = appendTime(append(b, `,"died_at":`...), d.Died)
	return append(b, '}')
}

// appendWaiting appends a message as a [PeekedMessage].
func appendWaiting(b []byte, p *mbox.Waiting) []byte {
	b = appendMessage(b, &p.Delivery)
	b = appendText(append(b, `,"state":`...), p.State)
	b = strconv.AppendInt(append(b, `,"due_ms":`...), p.Due.Milliseconds(), 10)
	if p.LastError != "" {
		b = appendText(append(b, `,"last_error":`...), p.LastError)
	}
	return append(b, '}')
}

// appendMessage appends what all three have in common, the brace left open.
func appendMessage(b []byte, d *mbox.Delivery) []byte {
	b = append(b, `{"msg_id":"`...)
	b = appendID(b, d.ID)
	b = appendText(append(b, `","topic":`...), d.Topic)
	b = appendTime(append(b, `,"ts":`...), d.Sent)
	b = appendText(append(b, `,"idem_key":`...), d.Key)
	b = append(b, `,"payload_b64":"`...)
	b = base64.StdEncoding.AppendEncode(b, d.Payload)
	b = append(b, `","payload_hash":"`...)
	b = append(b, d.Hash.String()...)
	b = appendAttrs(append(b, `","attrs":`...), d.Attrs)
	b = appendText(append(b, `,"corr_id":`...), d.CorrID)
	return strconv.AppendInt(append(b, `,"attempt":`...), int64(d.Attempt), 10)
}

func appendID(b []byte, id mbox.ID) []byte {
	text, _ := id.MarshalText() // 16 bytes are always 26 characters
	return append(b, text...)
}

// appendTime is a time as RFC 3339 has it, in UTC.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// appendText appends a string; bytes that are not UTF-8 become U+FFFD.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendAttrs appends attributes by name; none are an empty object.
func appendAttrs(b []byte, attrs map[string]string) []byte {
	var few [mbox.MaxAttrs]string
	names := few[:0]
	for name := range attrs {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		b = appendText(b, attrs[name])
	}
	return append(b, '}')
}

// appendProblem appends the problem of one item of an array.
func appendProblem(b []byte, p *Problem) []byte {
	text, _ := json.Marshal(p) // strings and numbers: cannot fail
	return append(b, text...)
}
