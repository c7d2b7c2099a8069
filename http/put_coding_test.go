package httpapi_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	httpapi "micronode/http"
	"micronode/http/inflate/bombtest"
	"micronode/store"
	"micronode/store/mbox"
)

// A compressed body is stored plain, however it comes; its address is that of the
// plain bytes.
func TestPutCompressed(t *testing.T) {
	r := start(t)
	for _, coding := range []string{"gzip", "deflate", "zstd"} {
		for _, size := range []int{0, 1, 100 << 10, 3 << 20} {
			plain := text(size)
			body := bombtest.Compress(coding, []byte(plain))
			if len(body)*10 < size {
				plain, body = mixed(coding, size)
			}
			want := store.Sum([]byte(plain)).String()
			for name, src := range map[string]io.Reader{"with its length": bytes.NewReader(body), "chunked": streamed(string(body))} {
				a := r.ask("PUT", "/put", src, "Content-Encoding", coding, "X-Content-B3", want)
				if a.status != 201 && a.status != 200 || !strings.Contains(a.body, want) {
					t.Fatalf("%s of %d bytes, %s: %d %s", coding, size, name, a.status, a.body)
				}
			}
			if a := r.ask("GET", "/o/"+want, nil); a.body != plain {
				t.Errorf("%s of %d bytes: %d came back", coding, size, len(a.body))
			}
			wantProblem(t, r.ask("PUT", "/put", bytes.NewReader(body), "Content-Encoding", coding, "X-Content-B3", store.Sum([]byte("other")).String()), 422, "mismatch")
		}
	}
	if n := r.door.Unread(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func mixed(coding string, size int) (string, []byte) {
	plain, body := bombtest.Mix(coding, "spread", size, 8, false)
	return string(plain), body
}

// Bombs, damage and codings that nobody knows are refused, counted once, and leave
// nothing behind.
func TestPutCompressedBadly(t *testing.T) {
	r := start(t, withPost(newPost(mbox.Options{})))
	count := 0
	refused := func(what string, a answer, status int, reason, counted string) {
		t.Helper()
		wantProblem(t, a, status, reason)
		count++
		if got := r.heard.rejections(); len(got) != count || got[count-1] != counted {
			t.Errorf("%s: counted %v", what, got)
		}
	}
	for _, bomb := range bombtest.All() {
		refused(bomb.Name, r.ask("PUT", "/put", bytes.NewReader(bomb.Body), "Content-Encoding", bomb.Coding), 413, "decompress", "decompress")
		refused(bomb.Name+", chunked", r.ask("PUT", "/put", streamed(string(bomb.Body)), "Content-Encoding", bomb.Coding), 413, "decompress", "decompress")
	}
	for _, coding := range []string{"gzip", "deflate", "zstd"} {
		_, good := bombtest.Mix(coding, "first", 300<<10, 9, false)
		if a := r.ask("PUT", "/put", bytes.NewReader(good), "Content-Encoding", coding); a.status > 201 {
			t.Errorf("%s at 9:1: %d %s", coding, a.status, a.body)
		}
		_, bad := bombtest.Mix(coding, "first", 300<<10, 11, true)
		refused("11:1", r.ask("PUT", "/put", bytes.NewReader(bad), "Content-Encoding", coding), 413, "decompress", "decompress")
		whole := bombtest.Compress(coding, []byte("hello world"))
		refused("cut", r.ask("PUT", "/put", bytes.NewReader(whole[:len(whole)-1]), "Content-Encoding", coding), 400, "schema", "schema")
		refused("more", r.ask("PUT", "/put", bytes.NewReader(append(whole, "more"...)), "Content-Encoding", coding), 400, "schema", "schema")
		refused("empty", r.ask("PUT", "/put", streamed(""), "Content-Encoding", coding), 400, "schema", "schema")
	}
	gz := bombtest.Compress("gzip", []byte("hello"))
	refused("stacked", r.ask("PUT", "/put", bytes.NewReader(gz), "Content-Encoding", "gzip, gzip"), 415, "encoding", "schema")
	refused("another route", r.post("/mbox/send", string(gz), "Content-Encoding", "gzip"), 415, "encoding", "schema")
	if u := r.mem.Usage(); u.Objects > 3 {
		t.Errorf("%d objects", u.Objects)
	}
	if n := r.door.Unread(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// The weight of the longest prefix that holds an address is its own.
func TestWeights(t *testing.T) {
	f := httpapi.Fairness{Weights: map[string]int{"10.0.0.0/8": 2, "10.1.0.0/16": 3, "10.1.1.0/24": 4, "10.1.1.1": 5, "2001:db8::/32": 6}}
	for range 20 { // a map has no order
		for addr, want := range map[string]int{"10.9.9.9": 2, "10.1.9.9": 3, "10.1.1.9": 4, "10.1.1.1": 5, "192.0.2.1": 1, "2001:db8::1": 6} {
			if got, err := httpapi.WeightOf(f, addr); err != nil || got != want {
				t.Fatalf("%s: %d %v, want %d", addr, got, err, want)
			}
		}
	}
}
