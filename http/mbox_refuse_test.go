package httpapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/store/mbox"
)

// Every way to say it wrong is a 400 that names what is wrong and repeats no value.
func TestMailboxBodies(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	receipt := mbox.Receipt{}.String()
	with := func(s string) string { return `{"topic":"t","payload_b64":"",` + s + `}` }
	var many []string
	for i := range 33 {
		many = append(many, fmt.Sprintf(`"n%d":""`, i))
	}
	for _, tt := range []struct {
		path, body, reason string
		words              string
	}{
		{"send", ``, "schema", "empty"},
		{"send", " \r\n\t", "schema", "empty"},
		{"send", `null`, "schema", "object"},
		{"send", `"secret"`, "schema", "object"},
		{"send", `{"topic":"t"`, "schema", "ends too early"},
		{"send", `{"topic":"t","payload_b64":""} {}`, "schema", "follows"},
		{"send", `{"topic":"t","payload_b64":""}]`, "schema", "follows"},
		{"send", `{"topic":"t","payload_b64":"",}`, "schema", "malformed at byte"},
		{"send", `{"topic":"t","topic":"t","payload_b64":""}`, "schema", "topic came more than once"},
		{"send", `{"topic":"t","payload_b64":"","attrs":{"n":"","n":""}}`, "schema", "n came more than once"},
		{"send", `{"Topic":"t","payload_b64":""}`, "schema", "Topic must be written topic"},
		{"send", with(`"payload":""`), "schema", "payload is not known here. The members are topic, payload_b64, attrs, delay_ms, idem_key"},
		{"send", with(`"se cret":""`), "schema", "A member is not known"},
		{"send", with(`"` + strings.Repeat("x", 65) + `":""`), "schema", "A member is not known"},
		{"send", with(`"":""`), "schema", "without a name"},
		{"send", `{"topic":"` + "\xff" + `","payload_b64":""}`, "schema", "UTF-8"},
		{"send", `{"topic":"\ud800","payload_b64":""}`, "schema", "malformed"},
		{"send", `{"topic":7,"payload_b64":""}`, "schema", "topic must be a string"},
		{"send", `{"topic":null,"payload_b64":""}`, "schema", "topic must be a string"},
		{"send", `{"topic":"t","payload_b64":null}`, "schema", "payload_b64 must be a string"},
		{"send", `{"topic":"t"}`, "schema", "payload_b64 is missing"},
		{"send", `{"payload_b64":""}`, "message", "topic"},
		{"send", `{"topic":"-t","payload_b64":""}`, "message", "1 to 128"},
		{"send", `{"topic":"` + strings.Repeat("x", 129) + `","payload_b64":""}`, "message", "1 to 128"},
		{"send", `{"topic":"t","payload_b64":"c2VjcmV0"  "x"}`, "schema", "malformed"},
		{"send", `{"topic":"t","payload_b64":"c2VjcmV0Cg"}`, "schema", "standard base64 with its padding"},
		{"send", `{"topic":"t","payload_b64":"YR=="}`, "schema", "standard base64"},
		{"send", `{"topic":"t","payload_b64":"YQ==\n"}`, "schema", "standard base64"},
		{"send", `{"topic":"t","payload_b64":"c2Vj\r\ncmV0"}`, "schema", "standard base64"},
		{"send", `{"topic":"t","payload_b64":"_-8="}`, "schema", "standard base64"},
		{"send", with(`"attrs":[]`), "schema", "attrs must be an object"},
		{"send", with(`"attrs":{"n":1}`), "schema", "every member of attrs must be a string"},
		{"send", with(`"attrs":{"é":""}`), "message", "printable ASCII"},
		{"send", with(`"attrs":{"n":"` + strings.Repeat("x", 1025) + `"}`), "message", "1024"},
		{"send", with(`"attrs":{` + strings.Join(many, ",") + `}`), "message", "32"},
		{"send", with(`"delay_ms":-1`), "schema", "delay_ms must be a whole number from 0 to 43200000"},
		{"send", with(`"delay_ms":43200001`), "schema", "delay_ms"},
		{"send", with(`"delay_ms":1.5`), "schema", "delay_ms"},
		{"send", with(`"delay_ms":1e3`), "schema", "delay_ms"},
		{"send", with(`"delay_ms":99999999999999999999`), "schema", "delay_ms"},
		{"send", with(`"delay_ms":"1"`), "schema", "delay_ms must be a number"},
		{"send", with(`"idem_key":""`), "schema", "idem_key"},
		{"send", with(`"idem_key":"é"`), "message", "printable ASCII"},
		{"send", `[{"topic":"t","payload_b64":""},{"topic":7}]`, "schema", "Item 1: topic must be a string"},
		{"send", `[{"topic":"t","payload_b64":""},7]`, "schema", "Item 1: this must be an object"},
		{"send", `[{"topic":"t","payload_b64":""},]`, "schema", "malformed"},
		{"send", `[{"topic":"t","payload_b64":""}`, "schema", "ends too early"},
		{"recv", `{}`, "message", "topic"},
		{"recv", `[{"topic":"t"}]`, "schema", "object"},
		{"recv", `{"topic":"t","max_messages":0}`, "schema", "max_messages must be a whole number from 1 to 256"},
		{"recv", `{"topic":"t","max_messages":-1}`, "schema", "max_messages"},
		{"recv", `{"topic":"t","max_messages":257}`, "schema", "max_messages"},
		{"recv", `{"topic":"t","max_messages":null}`, "schema", "max_messages must be a number"},
		{"recv", `{"topic":"t","max_bytes":0}`, "schema", "max_bytes must be a whole number from 1 to 1048576"},
		{"recv", `{"topic":"t","max_bytes":1048577}`, "schema", "max_bytes"},
		{"recv", `{"topic":"t","visibility_ms":0}`, "schema", "visibility_ms must be a whole number from 250 to 43200000"},
		{"recv", `{"topic":"t","visibility_ms":249}`, "schema", "visibility_ms"},
		{"recv", `{"topic":"t","visibility_ms":43200001}`, "schema", "visibility_ms"},
		{"recv", `{"topic":"t","wait_ms":-1}`, "schema", "wait_ms must be a whole number from 0 to 30000"},
		{"recv", `{"topic":"t","wait_ms":30001}`, "schema", "wait_ms"},
		{"recv", `{"topic":"t","wait":1}`, "schema", "wait is not known"},
		{"recv/stream", `{"topic":"t","wait_ms":0}`, "schema", "wait_ms is not known"},
		{"recv/stream", `{"topic":"t","max_messages":0}`, "schema", "max_messages"},
		{"ack", `{}`, "receipt", "receipt is missing"},
		{"ack", `{"receipt":"secret"}`, "receipt", "44 characters"},
		{"ack", `{"receipt":"` + receipt[:43] + `\n"}`, "receipt", "44 characters"},
		{"ack", `{"receipt":"` + receipt + `","msg_id":"secret"}`, "schema", "msg_id must be a ULID"},
		{"ack", `{"receipt":"` + receipt + `","reason":"secret"}`, "schema", "reason is not known"},
		{"nack", `{"receipt":"` + receipt + `","reason":"` + strings.Repeat("x", 1025) + `"}`, "schema", "reason may have 1024"},
		{"nack", `{"receipt":"` + receipt + `","visibility_ms":250}`, "schema", "visibility_ms is not known"},
		{"extend", `{"receipt":"` + receipt + `","visibility_ms":249}`, "schema", "visibility_ms"},
		{"extend", `{"receipt":"` + receipt + `","reason":""}`, "schema", "reason is not known"},
		{"purge", `{}`, "message", "topic"},
		{"purge", `{"topic":"t","limit":-1}`, "schema", "limit must be a whole number from 0"},
		{"dlq/purge", `{"topic":"t","limit":2147483648}`, "schema", "limit"},
		{"dlq/reprocess", `{"topic":"t","limit":true}`, "schema", "limit must be a number"},
	} {
		a := r.post("/mbox/"+tt.path, tt.body)
		if pr := a.problem(t); a.status != 400 || pr.Code != "bad_request" || pr.Reason != tt.reason || !strings.Contains(pr.Detail, tt.words) || strings.Contains(a.body, "secret") || strings.Contains(a.body, "c2VjcmV0") {
			t.Errorf("%s %.80s: %d %s %q", tt.path, tt.body, a.status, pr.Reason, pr.Detail)
		}
	}
	if len(p.sends)+len(p.settled) != 0 {
		t.Error("something of it reached the queue")
	}
	for _, reason := range r.heard.rejections() {
		if reason != "schema" {
			t.Errorf("counted %q", reason)
		}
	}
}

// What is at the bound passes, and what is beyond it is refused, announced or not.
func TestMailboxSizes(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p))
	c := unchecked("tcp", r.addr) // the checking client holds no such bodies
	defer c.CloseIdleConnections()
	post := func(body io.Reader) answer {
		return send(t, c, "POST", "http://"+r.addr+"/mbox/send", body, "Content-Type", "application/json")
	}
	full := `{"topic":"t","payload_b64":` + text64(mbox.MaxPayload) + `}`
	for _, body := range []io.Reader{strings.NewReader(full), streamed(full)} {
		if a := post(body); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	for _, n := range []int{1, 2, 3, 1000} {
		over := `{"topic":"t","payload_b64":` + text64(mbox.MaxPayload+n) + `}`
		wantProblem(t, post(strings.NewReader(over)), 413, "too_large", "payload_b64")
		wantProblem(t, post(streamed(over)), 413, "too_large", "payload_b64")
	}
	if a := post(strings.NewReader(`[` + full + `,{"topic":"t","payload_b64":` + text64(600<<10) + `}]`)); a.status != 413 {
		t.Errorf("%d", a.status) // 2 MiB in all
	}
	pad := func(n int) string {
		body := `{"topic":"t","payload_b64":""}`
		return body + strings.Repeat(" ", n-len(body))
	}
	const most = 2 << 20
	if a := post(strings.NewReader(pad(most))); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	wantProblem(t, post(streamed(pad(most+1))), 413, "too_large", "2097152")
	w := r.dial()
	w.say("POST /mbox/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2097153\r\nExpect: 100-continue\r\n\r\n")
	wantProblem(t, w.hear("POST"), 413, "too_large", "2097152")
	if n := len(p.sends); n != 3 {
		t.Errorf("%d sends", n)
	}
}

// The same headers are taken and refused as everywhere.
func TestMailboxHeaders(t *testing.T) {
	r := start(t, withPost(newPost(mbox.Options{})))
	body := `{"topic":"t","payload_b64":""}`
	c := unchecked("tcp", r.addr)
	defer c.CloseIdleConnections()
	for _, tt := range []struct {
		header, value, reason string
		status                int
	}{
		{"Content-Type", "text/plain", "schema", 400},
		{"Content-Type", "application/jsonx", "schema", 400},
		{"Content-Type", "application/json; charset=utf-8", "", 200},
		{"Content-Encoding", "gzip", "encoding", 415},
		{"Content-Encoding", "identity", "", 200},
		{"Origin", "https://evil.example", "forbidden", 403},
	} {
		a := send(t, c, "POST", "http://"+r.addr+"/mbox/send", strings.NewReader(body), tt.header, tt.value)
		if tt.status == 200 {
			if a.status != 200 {
				t.Errorf("%s: %d %s", tt.value, a.status, a.body)
			}
			continue
		}
		wantProblem(t, a, tt.status, tt.reason)
	}
}

// A body that does not come is a 408, one that breaks off a 400: nothing was sent.
func TestMailboxSlowBody(t *testing.T) {
	p := newPost(mbox.Options{})
	r := start(t, withPost(p), func(o *httpapi.Options) { o.Limits.RequestTimeout = 30 * time.Millisecond })
	w := r.dial()
	w.say("POST /mbox/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\n" + `{"topic":"t"`)
	wantProblem(t, w.hear("POST"), 408, "timeout")
	if got := r.heard.rejections(); len(got) != 1 || got[0] != "timeout" || len(p.sends) != 0 {
		t.Errorf("counted %v", got)
	}
}

// The mailbox has a plane of its own: sends need it open, consumers go on while
// it is read-only, and the objects' plane is nothing to it.
func TestMailboxGate(t *testing.T) {
	p := newPost(mbox.Options{})
	var planes map[string]string
	r := start(t, withPost(p), func(o *httpapi.Options) {
		o.Ports.Ready = func() httpapi.Readiness { return httpapi.Readiness{Ready: true, Planes: planes, RetryAfter: 2} }
	})
	plain := unchecked("tcp", r.addr)
	defer plain.CloseIdleConnections()
	receipt := mbox.Receipt{}.String()
	calls := []struct{ method, path, body, class string }{
		{"POST", "/mbox/send", `{"topic":"t","payload_b64":""}`, "write"},
		{"POST", "/mbox/purge", `{"topic":"t"}`, "write"},
		{"POST", "/mbox/dlq/purge", `{"topic":"t"}`, "write"},
		{"POST", "/mbox/dlq/reprocess", `{"topic":"t"}`, "write"},
		{"POST", "/mbox/recv", `{"topic":"none"}`, "consume"},
		{"POST", "/mbox/ack", `{"receipt":"` + receipt + `"}`, "consume"},
		{"POST", "/mbox/nack", `{"receipt":"` + receipt + `"}`, "consume"},
		{"POST", "/mbox/extend", `{"receipt":"` + receipt + `"}`, "consume"},
		{"POST", "/mbox/recv/stream", `{"topic":"none","wait_ms":1}`, "consume"}, // a 400 when it is let in
		{"GET", "/mbox/topics", "", "read"},
		{"GET", "/mbox/peek?topic=t", "", "read"},
		{"GET", "/mbox/dlq?topic=t", "", "read"},
	}
	for _, tt := range []struct {
		objects, mailbox string
		open             map[string]bool
	}{
		{"open", "open", map[string]bool{"write": true, "consume": true, "read": true}},
		{"closed", "open", map[string]bool{"write": true, "consume": true, "read": true}},
		{"open", "read_only", map[string]bool{"consume": true, "read": true}},
		{"open", "closed", nil},
	} {
		planes = map[string]string{"objects": tt.objects, "mailbox": tt.mailbox}
		for _, c := range calls {
			var a answer
			if c.method == "GET" {
				a = r.ask("GET", c.path, nil)
			} else { // the document knows no stream with wait_ms
				a = send(t, plain, c.method, "http://"+r.addr+c.path, strings.NewReader(c.body))
			}
			if open := a.status != 503; open != tt.open[c.class] {
				t.Errorf("%s while %s: %d %s", c.path, tt.mailbox, a.status, a.body)
			}
			if a.status == 503 && a.header.Get("Retry-After") != "2" {
				t.Errorf("%s: Retry-After %q", c.path, a.header.Get("Retry-After"))
			}
		}
		if a := r.ask("GET", "/o", nil); (a.status == 200) != (tt.objects == "open") {
			t.Errorf("objects while %s: %d", tt.objects, a.status)
		}
	}
}

// Without a mailbox there are no such routes; with one, each takes its method alone.
func TestMailboxRoutes(t *testing.T) {
	without := start(t)
	with := start(t, withPost(newPost(mbox.Options{})), func(o *httpapi.Options) { o.MetricsAddr = "127.0.0.1:0" })
	var metrics string
	for _, l := range with.door.Listeners() {
		if l.Plane == "metrics" {
			metrics = l.Address
		}
	}
	c := unchecked("tcp", metrics)
	defer c.CloseIdleConnections()
	for path, method := range map[string]string{
		"/mbox/send": "POST", "/mbox/recv": "POST", "/mbox/recv/stream": "POST", "/mbox/ack": "POST", "/mbox/nack": "POST", "/mbox/extend": "POST",
		"/mbox/dlq/reprocess": "POST", "/mbox/dlq/purge": "POST", "/mbox/purge": "POST", "/mbox/dlq": "GET", "/mbox/topics": "GET", "/mbox/peek": "GET",
	} {
		wantProblem(t, without.ask(method, path, nil), 404, "route")
		other, allow := "GET", "POST"
		if method == "GET" {
			other, allow = "POST", "GET, HEAD"
		}
		a := with.ask(other, path, nil)
		wantProblem(t, a, 405, "method")
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q", path, got)
		}
		if a := send(t, c, method, "http://"+metrics+path, nil); a.status != http.StatusNotFound {
			t.Errorf("%s on the metrics listener: %d", path, a.status)
		}
	}
	wantProblem(t, with.ask("POST", "/mbox/send/", nil), 404, "route")
}
