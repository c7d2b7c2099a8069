package actors_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
)

// own returns the names of a registry's metrics but those of the Go runtime
// and the process, which belong to whoever came first.
func own(t *testing.T, reg prometheus.Gatherer) (names []string) {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if name := f.GetName(); !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			names = append(names, name)
		}
	}
	return names
}

// hosted is a registry with one metric of the host's.
func hosted(t *testing.T) *prometheus.Registry { return with(t, "host_total") }

func with(t *testing.T, name string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	if err := reg.Register(prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "Of the host."})); err != nil {
		t.Fatal(err)
	}
	return reg
}

// A host and its node share one /metrics; the node takes its own away again.
func TestHostRegistry(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	reg := hosted(t)
	on := func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) }
	for range 2 { // one after the other
		r := start(t, on)
		if names := own(t, reg); !slices.Contains(names, "ready_state") {
			t.Errorf("the host's registry has %v", names)
		}
		if body := string(r.ask("GET", "/metrics", nil).body); !strings.Contains(body, "host_total 0") || r.metric("ready_state") != 2 {
			t.Errorf("the node's /metrics:\n%.500s", body)
		}
		r.stop()
		if names := own(t, reg); !slices.Equal(names, []string{"host_total"}) {
			t.Errorf("after the stop: %v", names)
		}
	}
}

// A second node on the same registry is refused and takes nothing away from
// the first.
func TestRegistryInUse(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	reg := hosted(t)
	r := start(t, func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) })
	before := own(t, reg)
	loaded, o := options(t, func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) })
	node, err := actors.Start(loaded, o)
	if err == nil {
		t.Error("two nodes share a registry:", node.Stop(context.Background(), false))
	}
	if after := own(t, reg); !slices.Equal(before, after) {
		t.Errorf("the first node had %v and has %v", before, after)
	}
	r.stop()
}

// A host that has a metric of the node's name gets an error and its registry
// back as it was.
func TestMetricInUse(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, name := range []string{"store_bytes", "http_requests_total", "bytes_out_total"} {
		reg := with(t, name)
		loaded, o := options(t, func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) })
		node, err := actors.Start(loaded, o)
		if err == nil {
			t.Fatal("it started:", node.Stop(context.Background(), false))
		}
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error %q does not name %s", err, name)
		}
		if names := own(t, reg); !slices.Equal(names, []string{name}) {
			t.Errorf("metrics are left: %v", names)
		}
	}
}

// A start that fails says why and leaves nothing behind: no listener, no
// socket file, no goroutine, no metric.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	for _, tt := range []struct {
		name string
		with setup
		bind bool
		says string
	}{
		{"the port is taken", func(c *config.Config, _ *actors.Options) { c.HTTPAddr = taken.Addr().String() }, true, taken.Addr().String()},
		{"the metrics port is taken", func(c *config.Config, _ *actors.Options) {
			c.HTTPAddr, c.MetricsAddr = free.Addr().String(), taken.Addr().String()
		}, true, taken.Addr().String()},
		{"the socket has no directory", func(_ *config.Config, o *actors.Options) { o.SocketPath += "/no/such/n.sock" }, true, "n.sock"},
		{"two children of a name", func(_ *config.Config, o *actors.Options) {
			o.Children = []kernel.Child{{Name: "storage", New: func() kernel.Actor { return nil }}}
		}, false, `"storage"`},
		{"figures that contradict", func(c *config.Config, _ *actors.Options) { c.Supervisor.BackoffMin = far }, false, "BackoffMin"},
		{"no address", func(c *config.Config, _ *actors.Options) { c.HTTPAddr = "" }, false, "HTTPAddr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			reg := hosted(t)
			loaded, o := options(t, tt.with, func(_ *config.Config, o *actors.Options) { o.Metrics = actors.NewMetrics(reg) })
			node, err := actors.Start(loaded, o)
			if err == nil {
				t.Fatal("it started:", node.Stop(context.Background(), false))
			}
			if errors.Is(err, httpapi.ErrBind) != tt.bind || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q, bind %v, want to read %q", err, errors.Is(err, httpapi.ErrBind), tt.says)
			}
			if names := own(t, reg); !slices.Equal(names, []string{"host_total"}) {
				t.Errorf("metrics are left: %v", names)
			}
			if _, err := os.Lstat(o.SocketPath); !errors.Is(err, fs.ErrNotExist) && tt.name != "the socket has no directory" {
				t.Errorf("the socket file is left: %v", err)
			}
			if l, err := net.Listen("tcp", free.Addr().String()); err != nil {
				t.Errorf("a port is left bound: %v", err)
			} else {
				_ = l.Close()
			}
		})
	}
}
