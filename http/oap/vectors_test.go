package oap_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"micronode/http/inflate"
	"micronode/http/oap"
)

// vector is one input and what an independent implementation made of it.
type vector struct {
	Name   string
	Hex    string
	SHA256 string
	Len    int
	Good   bool
	Build  *struct {
		Head  string `json:"head_hex"`
		Byte  byte   `json:"fill_byte"`
		Count int    `json:"fill_count"`
	}
	Result struct {
		Verdict string
		Error   string
		Left    int
		Frames  []vectorFrame
	}
}

type vectorFrame struct {
	Len     int
	Flags   uint16
	Code    uint16
	App     uint16  `json:"app_proto_id"`
	Tenant  string  `json:"tenant_id"`
	Corr    string  `json:"corr_id"`
	CapLen  int     `json:"cap_len"`
	Cap     *opaque `json:"cap"`
	Payload *opaque
}

type opaque struct {
	Hex string
	Len int
}

func (v *vector) input(t testing.TB) []byte {
	t.Helper()
	text := v.Hex
	if v.Build != nil {
		text = v.Build.Head
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	if v.Build != nil {
		b = append(b, bytes.Repeat([]byte{v.Build.Byte}, v.Build.Count)...)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != v.SHA256 || len(b) != v.Len {
		t.Fatalf("%s: the vector is damaged", v.Name)
	}
	return b
}

func vectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/oap_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 30 {
		t.Fatalf("%d vectors, want 30", len(file.Vectors))
	}
	return file.Vectors
}

// decoder with the bounds of the vectors: 8 MiB, any ratio.
func decoder(guard *inflate.Guard) *oap.Decoder {
	return &oap.Decoder{InflateMax: 8 << 20, Guard: guard}
}

// drained is what a decoder said of an input.
type drained struct {
	frames []oap.Frame // with memory of their own
	fault  *oap.Fault
	left   int
}

// drain takes all frames there are.
func (d *drained) drain(t testing.TB, dec *oap.Decoder) bool {
	t.Helper()
	for {
		f, ok, err := dec.Next(context.Background())
		d.left = dec.Left()
		if err != nil {
			if !errors.As(err, &d.fault) {
				t.Fatalf("not a fault: %v", err)
			}
			return false
		}
		if !ok {
			return true
		}
		f.Cap, f.Payload = bytes.Clone(f.Cap), bytes.Clone(f.Payload)
		d.frames = append(d.frames, f)
	}
}

func (d *drained) verdict() string {
	switch {
	case d.fault != nil:
		return "error"
	case d.left > 0:
		return "need_more"
	}
	return "ok"
}

func TestVectors(t *testing.T) {
	guard := inflate.NewGuard()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			in := v.input(t)
			dec := decoder(guard)
			dec.Feed(in)
			var got drained
			got.drain(t, dec)
			name := ""
			if got.fault != nil {
				name = got.fault.Name
			}
			if w := v.Result; got.verdict() != w.Verdict || name != w.Error || got.left != w.Left || len(got.frames) != len(w.Frames) {
				t.Fatalf("%s %q, %d left, %d frames; want %s %q, %d, %d", got.verdict(), name, got.left, len(got.frames), w.Verdict, w.Error, w.Left, len(w.Frames))
			}
			rest := in
			for i, f := range got.frames {
				rest = checkFrame(t, &f, &v.Result.Frames[i], rest)
			}
		})
	}
}

// checkFrame compares a frame and encodes it again, where it was not compressed.
func checkFrame(t *testing.T, f *oap.Frame, want *vectorFrame, in []byte) (rest []byte) {
	t.Helper()
	corr := []byte{byte(f.Corr >> 56), byte(f.Corr >> 48), byte(f.Corr >> 40), byte(f.Corr >> 32), byte(f.Corr >> 24), byte(f.Corr >> 16), byte(f.Corr >> 8), byte(f.Corr)}
	if f.Flags != want.Flags || f.Code != want.Code || f.App != want.App || hex.EncodeToString(f.Tenant[:]) != want.Tenant ||
		hex.EncodeToString(corr) != want.Corr || len(f.Cap) != want.CapLen {
		t.Errorf("%+v, want %+v", f, want)
	}
	checkOpaque(t, "cap", f.Cap, want.Cap)
	checkOpaque(t, "payload", f.Payload, want.Payload)
	if f.Flags&oap.FlagComp == 0 {
		if again := oap.AppendFrame(nil, f); len(again) != want.Len || !bytes.HasPrefix(in, again) {
			t.Error("encoded again, the frame has other bytes")
		}
	}
	return in[min(want.Len, len(in)):]
}

func checkOpaque(t *testing.T, what string, got []byte, want *opaque) {
	t.Helper()
	switch {
	case want == nil && len(got) == 0:
	case want == nil, want.Len != len(got), want.Hex != "" && want.Hex != hex.EncodeToString(got):
		t.Errorf("%s has %d bytes, want %+v", what, len(got), want)
	}
}
