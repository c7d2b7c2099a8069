package actors_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"micronode/actors"
	"micronode/config"
	httpapi "micronode/http"
)

// source is a configuration that can be changed between two reloads.
type source struct {
	mu  sync.Mutex
	set []string
}

func (s *source) put(set ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = set
}

func (s *source) load() (config.Loaded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return config.Load(config.Source{Set: s.set, Args: map[string]string{"auth.mode": "dev"}})
}

// reloading is a node whose configuration comes from src.
func reloading(src *source, set ...string) setup {
	return func(c *config.Config, o *actors.Options) {
		base := []string{
			"http_addr=127.0.0.1:0", "limits.rps=100000", "bus.ring=65536", "supervisor.max_restarts=1000", "supervisor.quarantine_after=10000",
		}
		src.put(append(base, set...)...)
		l, err := src.load()
		if err != nil {
			panic(err)
		}
		uds := c.UDS
		*c = l.Config
		c.UDS = uds
		o.Reload = func() (config.Loaded, error) {
			l, err := src.load()
			l.Config.UDS = uds
			return l, err
		}
	}
}

// A reload changes what may change, all of it or nothing, and says what it did.
func TestReload(t *testing.T) {
	t.Parallel()
	var src source
	r := start(t, reloading(&src))
	base := src.set
	order := func() (httpapi.Done, error) { return r.op.Reload(r.ctx(), httpapi.Order{}) }

	if d, err := order(); err != nil || len(d.Changed) != 0 || d.Version != 1 {
		t.Errorf("nothing differs: %+v %v", d, err)
	}
	src.put(append(base, "limits.inflight=7", "fairness.weights=10.0.0.1=3")...)
	if d, err := order(); err != nil || strings.Join(d.Changed, " ") != "limits.inflight fairness.weights" || d.Version != 2 {
		t.Errorf("two keys: %+v %v", d, err)
	}
	if v, err := r.data.Version(r.ctx()); err != nil || v.ConfigVersion != 2 {
		t.Errorf("%+v %v", v, err)
	}
	if a := r.ask("GET", "/api/v1/config", nil); a.status != http.StatusOK || !strings.Contains(string(a.body), `"inflight":7`) {
		t.Errorf("shown: %s", a.body)
	}
	src.put(append(base, "limits.inflight=9", "store.max_bytes=5MiB", "oap_addr=127.0.0.1:0")...)
	if _, err := order(); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("keys that need a restart: %v", err)
	}
	src.put("limits.rps=many", "limits.inflight=11")
	if _, err := order(); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a fault: %v", err)
	}
	if a := r.ask("GET", "/api/v1/config", nil); !strings.Contains(string(a.body), `"inflight":7`) {
		t.Errorf("a refused reload changed something: %s", a.body)
	}
	for outcome, want := range map[string]float64{"applied": 1, "unchanged": 1, "refused": 2} {
		if got := r.metric("config_reloads_total", `outcome="`+outcome+`"`); got != want {
			t.Errorf("%s: %v", outcome, got)
		}
	}
	if _, err := start(t).node.Reload(t.Context()); !errors.Is(err, actors.ErrNoSource) {
		t.Errorf("a host that gave none: %v", err)
	}
}

// A hundred reloads under load drop no request.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	var src source
	r := start(t, reloading(&src))
	base := src.set
	var all sync.WaitGroup
	var over atomic.Bool
	for range 4 {
		all.Go(func() {
			for !over.Load() {
				if a := r.ask("PUT", "/put", []byte("under load")); a.status != http.StatusOK && a.status != http.StatusCreated {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}
	for i := range 100 {
		src.put(append(base, []string{"limits.inflight=400", "limits.inflight=500"}[i%2], []string{"fairness.queue_per_flow=60", "fairness.queue_per_flow=63"}[i%2])...)
		if got, err := r.node.Reload(t.Context()); err != nil || len(got.Changes) == 0 {
			t.Fatal(got, err)
		}
	}
	over.Store(true)
	all.Wait()
}
