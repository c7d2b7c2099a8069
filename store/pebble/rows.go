package pebble

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"micronode/store"
	"micronode/store/mbox"
)

// Records of messages: a version byte, then the fields in order, numbers as varints and texts behind their length, then the
// checksum of all but the payload, which has its own hash.

type writer struct{ b []byte }

func (w *writer) num(n uint64)  { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) raw(p []byte)  { w.b = append(w.b, p...) }
func (w *writer) text(s string) { w.num(uint64(len(s))); w.b = append(w.b, s...) }

// moment writes a time to the nanosecond; the zero time is 0.
func (w *writer) moment(t time.Time) {
	var n int64
	if !t.IsZero() {
		n = t.UnixNano()
	}
	w.b = binary.AppendVarint(w.b, n)
}

type parser struct {
	b   []byte
	bad bool
}

func (p *parser) num() uint64 {
	n, size := binary.Uvarint(p.b)
	if size <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[size:]
	return n
}

func (p *parser) raw(n int) []byte {
	if n < 0 || n > len(p.b) {
		p.bad, p.b = true, nil
		return make([]byte, min(max(n, 0), 64))
	}
	part := p.b[:n]
	p.b = p.b[n:]
	return part
}

func (p *parser) text() string { return string(p.raw(int(min(p.num(), 1<<31)))) }

func (p *parser) moment() time.Time {
	n, size := binary.Varint(p.b)
	if size <= 0 {
		p.bad, p.b = true, nil
		return time.Time{}
	}
	p.b = p.b[size:]
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func bodyKey(id mbox.ID) []byte { return append([]byte{prefixBody}, id[:]...) }
func lifeKey(id mbox.ID) []byte { return append([]byte{prefixLife}, id[:]...) }

func dedupKey(topic, key string) []byte {
	return append(append(append([]byte{prefixDedup}, topic...), 0), key...)
}

// encodeBody: length of the sealed head, the head, the payload.
func encodeBody(r *mbox.Row) []byte {
	w := writer{make([]byte, 0, 256)}
	w.raw([]byte{1})
	w.text(r.Topic)
	w.raw(r.Hash[:])
	w.text(r.Key)
	w.text(r.CorrID)
	w.moment(r.Sent)
	w.num(uint64(len(r.Payload)))
	w.num(uint64(len(r.Attrs)))
	for name, value := range r.Attrs {
		w.text(name)
		w.text(value)
	}
	head := seal(w.b, r.ID[:])
	out := binary.AppendUvarint(make([]byte, 0, len(head)+len(r.Payload)+3), uint64(len(head)))
	return append(append(out, head...), r.Payload...)
}

func decodeBody(r *mbox.Row, b []byte) error {
	p := parser{b: b}
	head := p.raw(int(min(p.num(), 1<<31)))
	payload := p.b
	sealed, ok := unseal(head, r.ID[:])
	if p.bad || !ok || len(sealed) == 0 || sealed[0] != 1 {
		return fmt.Errorf("the record of message %v: %w", r.ID, store.ErrCorrupt)
	}
	p = parser{b: sealed[1:]}
	r.Topic = p.text()
	r.Hash = store.Address(p.raw(len(r.Hash)))
	r.Key, r.CorrID, r.Sent = p.text(), p.text(), p.moment()
	size, attrs := p.num(), p.num()
	if attrs > 0 && attrs <= mbox.MaxAttrs {
		r.Attrs = make(map[string]string, attrs)
		for range attrs {
			name := p.text()
			r.Attrs[name] = p.text()
		}
	}
	if p.bad || len(p.b) > 0 || size != uint64(len(payload)) || store.Sum(payload) != r.Hash {
		return fmt.Errorf("message %v: %w", r.ID, store.ErrCorrupt)
	}
	r.Payload = slices.Clone(payload)
	return nil
}

func encodeLife(r *mbox.Row) []byte {
	w := writer{make([]byte, 0, 96+len(r.LastErr))}
	w.raw([]byte{1, r.State})
	w.num(r.Seq)
	w.num(uint64(r.Attempt))
	w.raw(r.Nonce[:])
	w.moment(r.Due)
	w.moment(r.Taken)
	w.moment(r.Died)
	w.text(r.LastErr)
	return seal(w.b, r.ID[:])
}

func decodeLife(r *mbox.Row, b []byte) error {
	sealed, ok := unseal(b, r.ID[:])
	if !ok || len(sealed) < 2 || sealed[0] != 1 {
		return fmt.Errorf("the state of message %v: %w", r.ID, store.ErrCorrupt)
	}
	r.State = sealed[1]
	p := parser{b: sealed[2:]}
	r.Seq = p.num()
	r.Attempt = int(min(p.num(), 1<<31))
	copy(r.Nonce[:], p.raw(len(r.Nonce)))
	r.Due, r.Taken, r.Died, r.LastErr = p.moment(), p.moment(), p.moment(), p.text()
	if p.bad || len(p.b) > 0 {
		return fmt.Errorf("the state of message %v: %w", r.ID, store.ErrCorrupt)
	}
	return nil
}

func encodeKey(k *mbox.KeyRow, at []byte) []byte {
	w := writer{make([]byte, 0, 80)}
	w.raw([]byte{1})
	w.raw(k.ID[:])
	w.raw(k.Hash[:])
	w.moment(k.Until)
	return seal(w.b, at)
}

func decodeKey(at, b []byte) (k mbox.KeyRow, err error) {
	sealed, ok := unseal(b, at)
	topic, key, split := cut(at[1:])
	if !ok || !split || len(sealed) < 1+16+32 || sealed[0] != 1 {
		return k, fmt.Errorf("an idempotency key: %w", store.ErrCorrupt)
	}
	p := parser{b: sealed[49:]}
	k = mbox.KeyRow{Topic: topic, Key: key, ID: mbox.ID(sealed[1:17]), Hash: store.Address(sealed[17:49]), Until: p.moment()}
	return k, nil
}

func cut(at []byte) (topic, key string, ok bool) {
	i := slices.Index(at, 0)
	if i < 0 {
		return "", "", false
	}
	return string(at[:i]), string(at[i+1:]), true
}
