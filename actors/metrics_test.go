package actors_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden anew")

// describe lists the metrics of a registry: name, type and label names.
func describe(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range all {
		name := f.GetName()
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		shapes := map[string]bool{}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			shapes[strings.Join(labels, ",")] = true
		}
		for _, shape := range slices.Sorted(maps.Keys(shapes)) {
			fmt.Fprintf(&out, "%s{%s} %s\n", name, shape, strings.ToLower(f.GetType().String()))
		}
	}
	return out.String()
}

// The names and labels of all metrics are a promise.
func TestMetricsGolden(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	r := start(t, staysDown, func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) })
	r.put([]byte("x"))
	r.holds([]byte("x"))
	if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: "health"}); err != nil {
		t.Fatal(err)
	}
	got, path := describe(t, reg), filepath.Join("testdata", "metrics.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the metrics are\n%s\nthey were\n%s", got, want)
	}
	// Contract §14, without what belongs to planes that this build has not.
	for _, line := range []string{
		"http_requests_total{method,route,status", "request_latency_seconds{method,route", "inflight_requests{route", "rejected_total{reason",
		"quota_exhaustions_total{kind", "bytes_in_total{", "bytes_out_total{", "bus_lagged_total{", "service_restarts_total{service",
		"service_state{service,state", "ready_state{", "ready_dependency_unmet{dep", "queue_depth{queue", "integrity_fail_total{reason",
		"storage_get_latency_seconds{", "storage_put_latency_seconds{", "store_bytes{", "store_objects{", "tasks_aborted_total{kind", "build_info{git_sha,go,version",
	} {
		name, labels, _ := strings.Cut(line, "{")
		i := strings.Index("\n"+got, "\n"+name+"{")
		if i < 0 {
			t.Errorf("no %s", name)
			continue
		}
		shape, _, _ := strings.Cut(got[i+len(name)+1:], "}")
		have := strings.Split(shape, ",")
		for _, l := range append(slices.DeleteFunc(strings.Split(labels, ","), func(s string) bool { return s == "" }), "amnesia", "profile", "service") {
			if !slices.Contains(have, l) {
				t.Errorf("%s has the labels %v, not %s", name, have, l)
			}
		}
	}
}

// hostile sends requests that differ in everything a client chooses.
func (r *rig) hostile(from, to int) {
	r.Helper()
	tcp := &http.Transport{}
	defer tcp.CloseIdleConnections()
	c := &http.Client{Transport: tcp}
	for i := from; i < to; i++ {
		method := [...]string{"GET", "POST", "DELETE", fmt.Sprintf("BREW%d", i)}[i%4]
		path := [...]string{fmt.Sprintf("/x%d", i), fmt.Sprintf("/o/%d", i), "/o/" + store.Sum(fmt.Append(nil, i)).String(), fmt.Sprintf("/o?cursor=%d", i)}[i/4%4]
		req, err := http.NewRequestWithContext(r.ctx(), method, r.base+path, nil)
		if err != nil {
			r.Fatal(err)
		}
		req.Header.Set("X-Corr-ID", fmt.Sprintf("corr-%d", i))
		if i%3 == 0 {
			req.Host = fmt.Sprintf("host%d.example", i)
		}
		res, err := c.Do(req)
		if err != nil {
			r.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

// Whatever clients send makes no new series: 2,000 paths, methods and hosts.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	r := start(t, func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) })
	series := func() (n int) {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			n += len(f.GetMetric())
		}
		return n
	}
	r.hostile(0, 96) // each combination at least once
	before := series()
	r.hostile(96, 2000)
	if after := series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
	if before > 400 {
		t.Errorf("%d series of one node", before)
	}
	body := r.ask("GET", "/metrics", nil).body
	for _, trace := range []string{"/x1", "BREW", ".example", "corr-", "b3:", "cursor"} {
		if bytes.Contains(body, []byte(trace)) {
			t.Errorf("/metrics has %q", trace)
		}
	}
	if got := r.metric("http_requests_total", `method="OTHER"`); got != 500 {
		t.Errorf("%v requests of odd methods, want 500", got)
	}
	if unmatched, all := r.metric("http_requests_total", `route="unmatched"`), r.metric("http_requests_total"); unmatched != 500 || all < 2000 {
		t.Errorf("%v of %v requests are unmatched, want 500 of 2000 and some", unmatched, all)
	}
}

// What was counted is what was done, and OpenMetrics is to be had.
func TestMetricsAreTrue(t *testing.T) {
	t.Parallel()
	r := start(t)
	body := bytesOf(1, 100_000)
	r.put(body)
	r.holds(body)
	r.holds(body)
	r.ask("GET", "/o/"+store.Sum(nil).String(), nil)
	for _, tt := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"http_requests_total", []string{`route="/put"`, `method="POST"`, `status="201"`}, 1},
		{"http_requests_total", []string{`route="/o/{addr}"`, `method="GET"`, `status="200"`}, 2},
		{"http_requests_total", []string{`route="/o/{addr}"`, `method="GET"`, `status="404"`}, 1},
		{"request_latency_seconds_count", []string{`route="/o/{addr}"`, `method="GET"`}, 3},
		{"bytes_in_total", nil, 100_000},
		{"storage_put_latency_seconds_count", nil, 1},
		{"storage_get_latency_seconds_count", nil, 2},
		{"store_objects", nil, 1},
		{"ready_state", nil, 2},
		{"service_state", []string{`state="running"`}, float64(len(ownActors))},
		{"build_info", []string{`version="v1.2.3"`, `git_sha="abc"`}, 1},
		{"inflight_requests", []string{`route="/metrics"`}, 1},
		{"tasks_aborted_total", nil, 0},
	} {
		if got := r.metric(tt.name, append(tt.labels, `profile="micronode"`, `amnesia="on"`)...); got != tt.want {
			t.Errorf("%s%v is %v, want %v", tt.name, tt.labels, got, tt.want)
		}
	}
	if got := r.metric("bytes_out_total"); got < 200_000 {
		t.Errorf("bytes_out_total %v", got)
	}
	om := r.ask("GET", "/metrics", nil, "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(om.header.Get("Content-Type"), "application/openmetrics-text") || !bytes.HasSuffix(om.body, []byte("# EOF\n")) {
		t.Errorf("OpenMetrics: %v", om.header)
	}
	// A cause may have the name of an actor; the scrape goes on.
	r.node.Tree().Ledger().Raise(kernel.Cause{Name: "storage", Effect: kernel.Warn})
	if _, err := r.op.Kill(r.ctx(), httpapi.Order{Service: "storage"}); err != nil {
		t.Fatal(err)
	}
	if got := r.metric("service_restarts_total"); got != 1 {
		t.Errorf("service_restarts_total %v", got)
	}
}
