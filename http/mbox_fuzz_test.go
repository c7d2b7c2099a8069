package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	httpapi "micronode/http"
	"micronode/store"
	"micronode/store/mbox"
)

// foreseen reports a refusal that is the sender's fault.
func foreseen(err error) bool {
	return errors.Is(err, httpapi.ErrBadRequest) || errors.Is(err, mbox.ErrInvalid) || errors.Is(err, store.ErrTooLarge) ||
		errors.Is(err, mbox.ErrBadReceipt) || errors.Is(err, mbox.ErrUnknown)
}

// Whatever comes is refused with a foreseen error, or is what another decoder
// reads too.
func FuzzSend(f *testing.F) {
	for _, s := range []string{
		`{"topic":"t","payload_b64":"aGVsbG8="}`, `[{"topic":"t","payload_b64":"","attrs":{"a":"b"},"delay_ms":5,"idem_key":"k"}]`,
		`{"topic":"\u0074","payload_b64":"\u0041\/+="}`, `[`, `[]`, `{"topic":"t","payload_b64":"YR=="}`, `{"a":{"b":[1,2,{}]}}`, "{\"topic\":\"\xff\"}",
		`[{"topic":"t"},]`, `{"topic":"t","payload_b64":"YQ==\n"}`, `{"topic":"t","delay_ms":1e400,"payload_b64":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, faults, err := httpapi.DecodeSend(raw)
		if err != nil {
			if !foreseen(err) {
				t.Fatalf("%v", err)
			}
			return
		}
		if bytes.TrimLeft(raw, " \t\r\n")[0] != '[' {
			raw = append(append([]byte{'['}, raw...), ']')
		}
		var want []httpapi.SendRequest
		if err := json.Unmarshal(raw, &want); err != nil {
			for _, fault := range faults {
				if fault != nil {
					return // a value that fits no type of the other's
				}
			}
			t.Fatalf("taken, but %v", err)
		}
		if len(got) != len(want) || len(got) > mbox.MaxBatch {
			t.Fatalf("%d and %d items", len(got), len(want))
		}
		for i, m := range got {
			if faults[i] != nil {
				if !foreseen(faults[i]) {
					t.Fatalf("%v", faults[i])
				}
				continue
			}
			w := want[i]
			if m.Topic != w.Topic || !bytes.Equal(m.Payload, w.PayloadB64) || m.Delay.Milliseconds() != w.DelayMS || m.Key != w.IdemKey || !maps.Equal(m.Attrs, w.Attrs) {
				t.Fatalf("%+v and %+v", m, w)
			}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A settlement that is taken names a receipt that is one.
func FuzzSettle(f *testing.F) {
	receipt := mbox.Receipt{Shard: 1, ID: mbox.ID{2}, Nonce: [16]byte{3}}
	for _, s := range []string{
		`{"receipt":"` + receipt.String() + `"}`, `[{"receipt":"` + receipt.String() + `","msg_id":"` + receipt.ID.String() + `"}]`,
		`{"receipt":"x"}`, `{"receipt":"` + receipt.String() + `","reason":"r"}`, `{"receipt":"` + receipt.String() + `","visibility_ms":250}`, `{`,
	} {
		for v := range uint8(3) {
			f.Add(v, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, v uint8, raw []byte) {
		verdict := mbox.Verdict(v % 3)
		got, faults, err := httpapi.DecodeSettle(verdict, raw)
		if err != nil {
			if !foreseen(err) {
				t.Fatalf("%v", err)
			}
			return
		}
		for i, s := range got {
			switch {
			case faults[i] != nil && !foreseen(faults[i]):
				t.Fatalf("%v", faults[i])
			case faults[i] == nil && (s.Verdict != verdict || s.Receipt == mbox.Receipt{}) && !bytes.Contains(raw, []byte(mbox.Receipt{}.String())):
				t.Fatalf("%+v", s)
			case faults[i] == nil && (len(s.Reason) > mbox.MaxReason || s.Visibility != 0 && s.Visibility < mbox.MinVisibility || s.Visibility > mbox.MaxVisibility):
				t.Fatalf("%+v", s)
			}
		}
	})
}
