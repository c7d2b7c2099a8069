package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	httpapi "micronode/http"
	"micronode/store"
)

var benchSizes = []struct {
	name string
	n    int
}{{"1KiB", 1 << 10}, {"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}, {"16MiB", 16 << 20}}

func wideOpen(o *httpapi.Options) { o.Ports.Observe = httpapi.Observer{} }

func BenchmarkGet(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			r := start(b, wideOpen)
			url := "http://" + r.addr + "/o/" + r.keep(text(size.n)).String()
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			for b.Loop() {
				resp, err := r.client.Get(url)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || n != int64(size.n) {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// Objects over 1 MiB go as a stream. Each is new, and deleted straight from the
// store so that it does not fill up.
func BenchmarkPut(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) {
			r := start(b, wideOpen)
			body := []byte(text(size.n))
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				copy(body, fmt.Sprintf("%020d", i))
				var src io.Reader = bytes.NewReader(body)
				if size.n > 1<<20 {
					src = struct{ io.Reader }{src}
				}
				resp, err := r.client.Post("http://"+r.addr+"/put", httpapi.TypeOctets, src)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusCreated {
					b.Fatal(resp.StatusCode)
				}
				if err := r.mem.Delete(b.Context(), addressIn(b, resp)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func addressIn(b *testing.B, resp *http.Response) store.Address {
	a, err := store.ParseAddress(strings.TrimPrefix(resp.Header.Get("Location"), "/o/"))
	if err != nil {
		b.Fatal(err)
	}
	return a
}
