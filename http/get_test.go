package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	httpapi "micronode/http"
	"micronode/store"
)

func TestGet(t *testing.T) {
	r := start(t)
	const size = 200_000
	whole := text(size)
	a := r.keep(whole).String()
	tag := `"` + a + `"`
	r.keep("")
	tests := []struct {
		name    string
		headers []string
		status  int
		off, n  int // of the body
	}{
		{"whole", nil, 200, 0, size},
		{"have it", []string{"If-None-Match", tag}, 304, 0, 0},
		{"have it, weakly", []string{"If-None-Match", `"x", W/` + tag}, 304, 0, 0},
		{"have any", []string{"If-None-Match", "*"}, 304, 0, 0},
		{"have another", []string{"If-None-Match", `"b3:00"`}, 200, 0, size},
		{"have on a second line", []string{"If-None-Match", `"x"`, "If-None-Match", tag}, 304, 0, 0},
		{"malformed tag", []string{"If-None-Match", a}, 200, 0, size},
		{"match", []string{"If-Match", tag}, 200, 0, size},
		{"match any", []string{"If-Match", "*"}, 200, 0, size},
		{"match none", []string{"If-Match", `"x"`}, 412, 0, 0},
		{"match weakly", []string{"If-Match", "W/" + tag}, 412, 0, 0},
		{"first byte", []string{"Range", "bytes=0-0"}, 206, 0, 1},
		{"across groups", []string{"Range", "bytes=65535-65536"}, 206, 65535, 2},
		{"one group", []string{"Range", "bytes=65536-131071"}, 206, 65536, 65536},
		{"open end", []string{"Range", "bytes=199990-"}, 206, 199990, 10},
		{"past the end", []string{"Range", "bytes=199990-999999"}, 206, 199990, 10},
		{"suffix", []string{"Range", "bytes=-7"}, 206, size - 7, 7},
		{"long suffix", []string{"Range", "bytes=-9999999999999999999999"}, 206, 0, size},
		{"unit in capitals", []string{"Range", "Bytes=1-2"}, 206, 1, 2},
		{"empty elements", []string{"Range", "bytes=, 1-2 ,"}, 206, 1, 2},
		{"outside", []string{"Range", "bytes=200000-"}, 416, 0, 0},
		{"far outside", []string{"Range", "bytes=99999999999999999999-"}, 416, 0, 0},
		{"no suffix", []string{"Range", "bytes=-0"}, 416, 0, 0},
		{"several", []string{"Range", "bytes=0-1,5-6"}, 200, 0, size},
		{"backwards", []string{"Range", "bytes=5-4"}, 200, 0, size},
		{"words", []string{"Range", "bytes=a-b"}, 200, 0, size},
		{"signed", []string{"Range", "bytes=+1-2"}, 200, 0, size},
		{"other unit", []string{"Range", "lines=0-1"}, 200, 0, size},
		{"two headers", []string{"Range", "bytes=0-1", "Range", "bytes=2-3"}, 200, 0, size},
		{"if the same", []string{"Range", "bytes=1-2", "If-Range", tag}, 206, 1, 2},
		{"if another", []string{"Range", "bytes=1-2", "If-Range", `"x"`}, 200, 0, size},
		{"if weakly", []string{"Range", "bytes=1-2", "If-Range", "W/" + tag}, 200, 0, size},
		{"if a date", []string{"Range", "bytes=1-2", "If-Range", "Mon, 23 Nov 2026 21:00:00 GMT"}, 200, 0, size},
		{"304 before range", []string{"Range", "bytes=1-2", "If-None-Match", tag}, 304, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.ask("GET", "/o/"+a, nil, tt.headers...)
			if got.status != tt.status || got.err != nil {
				t.Fatalf("%d %v %.100s", got.status, got.err, got.body)
			}
			h := got.header
			switch tt.status {
			case 416:
				if p := got.problem(t); p.Code != "range_not_satisfiable" || h.Get("Content-Range") != "bytes */200000" || h.Get("ETag") != tag {
					t.Errorf("%+v %v", p, h)
				}
				return
			case 412:
				if p := got.problem(t); p.Code != "precondition_failed" {
					t.Errorf("%+v", p)
				}
				return
			case 206:
				if want := fmt.Sprintf("bytes %d-%d/%d", tt.off, tt.off+tt.n-1, size); h.Get("Content-Range") != want {
					t.Errorf("Content-Range %q, want %q", h.Get("Content-Range"), want)
				}
			}
			if got.body != whole[tt.off:tt.off+tt.n] {
				t.Errorf("%d bytes, and not the right ones", len(got.body))
			}
			if tt.status != 304 && h.Get("Content-Length") != fmt.Sprint(tt.n) {
				t.Errorf("Content-Length %q", h.Get("Content-Length"))
			}
			checkObjectHeaders(t, h, tag)
		})
	}
	if got := r.heard.rejections(); len(got) != 0 {
		t.Errorf("counted %v: 412 and 416 are no refusals", got)
	}
}

func checkObjectHeaders(t *testing.T, h http.Header, tag string) {
	t.Helper()
	for name, want := range map[string]string{
		"ETag": tag, "Cache-Control": "public, max-age=31536000, immutable", "Accept-Ranges": "bytes",
		"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
}

func TestGetEmpty(t *testing.T) {
	r := start(t)
	r.keep("")
	for _, tt := range []struct {
		rng    string
		status int
	}{{"", 200}, {"bytes=-1", 200}, {"bytes=0-", 416}, {"bytes=0-0", 416}} {
		headers := []string{"Range", tt.rng}
		if tt.rng == "" {
			headers = nil
		}
		a := r.ask("GET", "/o/"+emptyText, nil, headers...)
		if a.status != tt.status || tt.status == 200 && (a.body != "" || a.header.Get("Content-Length") != "0") {
			t.Errorf("%q: %d %q %v", tt.rng, a.status, a.body, a.header)
		}
	}
}

// HEAD answers as GET would, without the bytes, and its connection lives on.
func TestHead(t *testing.T) {
	r := start(t)
	a := r.keep(text(100_000)).String()
	w := r.dial()
	for _, path := range []string{"/o/" + a, "/o", "/healthz", "/readyz", "/version", "/metrics", "/openapi.yaml", "/api/v1/status", "/api/v1/config", "/o/" + helloText, "/nowhere"} {
		get := r.ask("GET", path, nil)
		w.say("HEAD " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		head := w.hear("HEAD")
		if head.status != get.status || head.body != "" {
			t.Errorf("%s: %d %q, GET %d", path, head.status, head.body, get.status)
		}
		for _, name := range []string{"ETag", "Content-Type", "Cache-Control", "Accept-Ranges"} {
			if head.header.Get(name) != get.header.Get(name) {
				t.Errorf("%s: %s %q, GET %q", path, name, head.header.Get(name), get.header.Get(name))
			}
		}
		if get.status == 200 && path != "/metrics" && head.header.Get("Content-Length") != get.header.Get("Content-Length") {
			t.Errorf("%s: length %q, GET %q", path, head.header.Get("Content-Length"), get.header.Get("Content-Length"))
		}
	}
}

func TestBadAddress(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = panicking{} }) // no bad address gets there
	hex := strings.TrimPrefix(helloText, "b3:")
	for _, addr := range []string{"x", "b3:", hex, "B3:" + hex, "b3:" + strings.ToUpper(hex), helloText + "0", helloText[:66], "b3:" + hex[:63] + "g", "..", "%20"} {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			if a := r.ask(method, "/o/"+addr, nil); a.status != 400 || method == "GET" && a.problem(t).Reason != "address" {
				t.Errorf("%s %s: %d", method, addr, a.status)
			}
		}
	}
	if len(r.heard.panics) != 0 {
		t.Error("an address that is none reached the store")
	}
}

func TestDelete(t *testing.T) {
	r := start(t)
	path := "/o/" + r.keep("gone soon").String()
	for _, want := range []int{204, 404} {
		if a := r.ask("DELETE", path, nil); a.status != want {
			t.Errorf("%d, want %d", a.status, want)
		}
	}
	if a := r.ask("GET", path, nil); a.status != 404 || a.problem(t).Reason != "object" {
		t.Errorf("%d", a.status)
	}
}

func TestList(t *testing.T) {
	r := start(t)
	var want []string
	for i := range 205 {
		want = append(want, r.keep(fmt.Sprint("object ", i)).String())
	}
	for _, tt := range []struct {
		query string
		pages []int
	}{{"", []int{100, 100, 5}}, {"limit=205", []int{205}}, {"limit=1000", []int{205}}, {"limit=41", []int{41, 41, 41, 41, 41}}} {
		seen := map[string]bool{}
		last, cursor := "", ""
		for i, n := range tt.pages {
			a := r.ask("GET", "/o?"+tt.query+"&cursor="+cursor, nil)
			page := decode[httpapi.Listing](t, a)
			if len(page.Objects) != n || (page.Cursor == "") != (i == len(tt.pages)-1) {
				t.Fatalf("%q page %d: %d objects, cursor %q", tt.query, i, len(page.Objects), page.Cursor)
			}
			for _, o := range page.Objects {
				if o.Address <= last {
					t.Fatalf("%s after %s", o.Address, last)
				}
				last = o.Address
				seen[o.Address] = true
			}
			cursor = page.Cursor
		}
		for _, a := range want {
			if !seen[a] {
				t.Fatalf("%q misses %s", tt.query, a)
			}
		}
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=5&limit=6", "cursor=x", "cursor=" + helloText + "0", "limt=5", "limit=%zz", "a;b"} {
		if a := r.ask("GET", "/o?"+bad, nil); a.status != 400 {
			t.Errorf("%s: %d", bad, a.status)
		}
	}
}

func TestListWhereStoreCannot(t *testing.T) {
	r := start(t, func(o *httpapi.Options) { o.Ports.Objects = failing{store.ErrNotFound} })
	if a := r.ask("GET", "/o", nil); a.status != 501 || a.problem(t).Code != "not_supported" {
		t.Errorf("%d", a.status)
	}
}

// Damage found before the first byte is told; found later, the answer is cut.
// Neither way does a wrong byte leave.
func TestCorrupt(t *testing.T) {
	whole := text(4 * store.GroupSize)
	for _, tt := range []struct {
		name    string
		group   int64
		headers []string
		status  int
		found   string // where the damage is
	}{
		{"first group", 0, nil, 502, "first_group"},
		{"later group", 2, nil, 200, "mid_stream"},
		{"last group", 3, nil, 200, "mid_stream"},
		{"range in the bad group", 2, []string{"Range", "bytes=131080-131090"}, 502, "first_group"},
		{"range beside it", 2, []string{"Range", "bytes=0-131071"}, 206, ""},
		{"range into it", 2, []string{"Range", "bytes=100000-140000"}, 206, "mid_stream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t)
			addr := r.keep(whole)
			if err := r.mem.FlipBit(addr, tt.group*store.GroupSize*8+77); err != nil {
				t.Fatal(err)
			}
			a := r.ask("GET", "/o/"+addr.String(), nil, tt.headers...)
			if a.status != tt.status {
				t.Fatalf("%d", a.status)
			}
			x := r.heard.last(t)
			switch tt.found {
			case "first_group":
				if p := a.problem(t); p.Code != "integrity_fail" || p.Reason != "corrupt" || a.header.Get("ETag") != "" || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%+v %v", p, a.header)
				}
			case "mid_stream":
				if !errors.Is(a.err, io.ErrUnexpectedEOF) || !strings.Contains(whole, a.body) || !x.Aborted {
					t.Errorf("%v after %d bytes, %+v", a.err, len(a.body), x)
				}
			default:
				if a.err != nil || a.body != whole[:131072] {
					t.Errorf("%v after %d bytes", a.err, len(a.body))
				}
			}
			if got := strings.Join(r.heard.rejections(), " "); (got == "integrity") != (tt.status == 502) {
				t.Errorf("counted %q", got)
			}
		})
	}
}
