package oap_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"micronode/http/inflate"
	"micronode/http/oap"
)

func BenchmarkEncode(b *testing.B) {
	f := data(1, string(make([]byte, 4096)), 0)
	buf := make([]byte, 0, 8192)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = oap.AppendFrame(buf[:0], &f)
	}
}

func BenchmarkDecode(b *testing.B) {
	f := data(1, string(make([]byte, 4096)), 0)
	wire := oap.AppendFrame(nil, &f)
	dec := decoder(inflate.NewGuard())
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		dec.Feed(wire)
		if _, ok, err := dec.Next(context.Background()); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// quiet answers like the toy, and keeps no record.
func quiet(_ context.Context, x *oap.Exchange) {
	if x.Unary() {
		_ = x.Start([]byte(`{"address":"b3:x","size":4096,"offset":0,"length":4096}`))
		_, _ = x.Write(make([]byte, 4096))
		_ = x.End(200, nil)
		return
	}
	n, _ := io.Copy(io.Discard, x)
	_ = x.End(200, stored("b3:x", n))
}

func benchClient(b *testing.B) *oap.Client {
	b.Helper()
	o := newToy().options()
	o.Handle, o.State = quiet, nil
	return dialTo(b, listen(b, oap.NewServer(o).ServeConn), oap.ClientOptions{})
}

func BenchmarkPut4K(b *testing.B) {
	c, body := benchClient(b), make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Put(b.Context(), bytes.NewReader(body), 4096, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet4K(b *testing.B) {
	c := benchClient(b)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(b.Context(), "b3:x", 0, -1, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
