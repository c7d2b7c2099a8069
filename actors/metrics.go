package actors

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"micronode/actors/mailbox"
	httpapi "micronode/http"
	"micronode/kernel"
)

// Metrics is every metric of a node (contract §14), on one registry.
//
// Labels are bounded: a route is a pattern, a service is a child's name, a
// reason is one of a fixed list. Metrics with a label "service" of their own do
// not carry the constant label service="micronode".
type Metrics struct {
	reg       *prometheus.Registry
	requests  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	rejected  *prometheus.CounterVec
	quota     *prometheus.CounterVec
	bytesIn   prometheus.Counter
	bytesOut  prometheus.Counter
	healed    prometheus.Counter
	damage    *prometheus.CounterVec
	gets      prometheus.Histogram
	puts      prometheus.Histogram
	cut       *prometheus.CounterVec
	authFail  *prometheus.CounterVec
	tlsFail   *prometheus.CounterVec
	tlsDone   *prometheus.CounterVec
	downgrade prometheus.Counter
	reloads   *prometheus.CounterVec
	undo      []func() // takes each registered collector away again
}

// Reasons of rejected_total, contract §5.
var rejections = [...]string{"413", "429", "503", "decompress", "unauth", "forbidden", "schema", "timeout", "integrity", "method"}

// quotas are the reasons of a 429: the kinds of quota_exhaustions_total.
var quotas = [...]string{"rps", "flow_rps", "streams", "inflating", "store_bytes", "mailbox_full", "mailbox_bytes", "mailbox_inflight", "mailbox_busy"}

// Bucket bounds in seconds; none is a whole number, because OpenMetrics would
// write 1 as 1.0.
var (
	requestBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1.5, 2.5, 5.5, 10.5}
	storageBuckets = []float64{.000005, .00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, .5}
)

// NewMetrics makes the metrics of one node on the given registry, or on one of
// their own when it is nil. A host passes its registry to have one /metrics
// for everything.
func NewMetrics(reg *prometheus.Registry) *Metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, bounds []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: bounds,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}
	}
	m := &Metrics{
		reg:       reg,
		requests:  counter("http_requests_total", "Finished requests.", "route", "method", "status"),
		latency:   prometheus.NewHistogramVec(histogram("request_latency_seconds", "From the request's headers to the end of the answer.", requestBuckets), []string{"route", "method"}),
		rejected:  counter("rejected_total", "Refusals, once each.", "reason"),
		quota:     counter("quota_exhaustions_total", "Refusals because a bound was reached.", "kind"),
		bytesIn:   prometheus.NewCounter(prometheus.CounterOpts{Name: "bytes_in_total", Help: "Bytes of request bodies."}),
		bytesOut:  prometheus.NewCounter(prometheus.CounterOpts{Name: "bytes_out_total", Help: "Bytes of response bodies."}),
		damage:    counter("integrity_fail_total", "Stored bytes that did not match their address.", "reason"),
		healed:    prometheus.NewCounter(prometheus.CounterOpts{Name: "objects_healed_total", Help: "Damaged objects replaced by the bytes of a peer."}),
		gets:      prometheus.NewHistogram(histogram("storage_get_latency_seconds", "Store's own share of a verified read.", storageBuckets)),
		puts:      prometheus.NewHistogram(histogram("storage_put_latency_seconds", "Store's own share of a put: hashing and commit.", storageBuckets)),
		authFail:  counter("auth_failures_total", "Requests refused because of who asked.", "reason"),
		tlsFail:   counter("tls_handshake_failures_total", "TLS handshakes that failed.", "reason"),
		tlsDone:   counter("tls_handshakes_total", "TLS handshakes by key exchange.", "group"),
		downgrade: prometheus.NewCounter(prometheus.CounterOpts{Name: "pq_downgrade_events_total", Help: "Handshakes that settled for a classical key exchange although a hybrid one was offered."}),
		reloads:   counter("config_reloads_total", "Attempts to change the configuration in force.", "outcome"),
		cut:       counter("tasks_aborted_total", "Work ended by force: requests at the drain's deadline.", "kind"),
	}
	for _, r := range rejections {
		m.rejected.WithLabelValues(r)
	}
	for _, k := range quotas {
		m.quota.WithLabelValues(k)
	}
	for _, o := range []string{reloadApplied, reloadUnchanged, reloadRefused} {
		m.reloads.WithLabelValues(o)
	}
	for _, where := range []string{"read", "scrub", "engine", "mailbox"} {
		m.damage.WithLabelValues(where)
	}
	m.cut.WithLabelValues("request")
	return m
}

// register adds everything to the registry, for this node: all or nothing.
func (m *Metrics) register(n *Node) error {
	var errs []error
	add := func(reg prometheus.Registerer, c prometheus.Collector) {
		if err := reg.Register(c); err != nil {
			errs = append(errs, err)
			return
		}
		m.undo = append(m.undo, func() { reg.Unregister(c) })
	}
	with := m.constant(n)
	for _, c := range m.labelled() {
		add(with, c)
	}
	add(prometheus.WrapRegistererWith(m.profile(n), m.reg), newNodeCollector(n))
	// A host's registry may have these already.
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		var have prometheus.AlreadyRegisteredError
		if err := m.reg.Register(c); err != nil && !errors.As(err, &have) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		m.unregister()
	}
	return errors.Join(errs...)
}

// unregister takes away what register added, and nothing of anybody else's.
func (m *Metrics) unregister() {
	for _, undo := range m.undo {
		undo()
	}
	m.undo = nil
}

func (m *Metrics) labelled() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.latency, m.rejected, m.quota, m.bytesIn, m.bytesOut, m.damage, m.healed, m.gets, m.puts, m.cut, m.reloads, m.authFail, m.tlsFail, m.tlsDone, m.downgrade}
}

func (m *Metrics) profile(n *Node) prometheus.Labels {
	amnesia := "off"
	if n.cfg.Amnesia {
		amnesia = "on"
	}
	return prometheus.Labels{"profile": Service, "amnesia": amnesia}
}

func (m *Metrics) constant(n *Node) prometheus.Registerer {
	l := m.profile(n)
	l["service"] = Service
	return prometheus.WrapRegistererWith(l, m.reg)
}

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.reg, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})
}

func (m *Metrics) put(d time.Duration)             { m.puts.Observe(d.Seconds()) }
func (m *Metrics) get(d time.Duration)             { m.gets.Observe(d.Seconds()) }
func (m *Metrics) integrity(where string)          { m.damage.WithLabelValues(where).Inc() }
func (m *Metrics) aborted(kind string, many int64) { m.cut.WithLabelValues(kind).Add(float64(many)) }

func (m *Metrics) exchange(x httpapi.Exchange) {
	m.requests.WithLabelValues(x.Route, x.Method, statusText(x.Status)).Inc()
	m.latency.WithLabelValues(x.Route, x.Method).Observe(x.Duration.Seconds())
	m.bytesIn.Add(float64(x.BytesIn))
	m.bytesOut.Add(float64(x.BytesOut))
	if x.Status == http.StatusTooManyRequests && slices.Contains(quotas[:], x.Reason) {
		m.quota.WithLabelValues(x.Reason).Inc()
	}
}

// nodeCollector reads the node when it is scraped: what it shows can not
// disagree with the ledger.
type nodeCollector struct {
	n     *Node
	descs map[string]*prometheus.Desc
}

func newNodeCollector(n *Node) *nodeCollector {
	c := &nodeCollector{n: n, descs: map[string]*prometheus.Desc{}}
	own := prometheus.Labels{"service": Service}
	for name, d := range map[string]struct {
		help   string
		labels []string
	}{
		"service_restarts_total": {"Crashes and ordered restarts of an actor.", []string{"service"}},
		"service_state":          {"1 for the state that an actor is in.", []string{"service", "state"}},
	} {
		c.descs[name] = prometheus.NewDesc(name, d.help, d.labels, nil)
	}
	for name, d := range map[string]struct {
		help   string
		labels []string
	}{
		"ready_state":                      {"2 ready, 1 degraded, 0 not ready.", nil},
		"ready_dependency_unmet":           {"1 for each actor or cause that readiness misses.", []string{"dep"}},
		"inflight_requests":                {"Requests that are being served.", []string{"route"}},
		"queue_depth":                      {"Messages that wait for an actor; requests that wait for a slot (admission).", []string{"queue"}},
		"admission_slots":                  {"Slots of limits.inflight that are taken.", nil},
		"admission_open":                   {"Requests begun and not ended, those that wait for their client among them.", nil},
		"admission_flows":                  {"Clients that the admission knows of now.", nil},
		"bus_lagged_total":                 {"Events lost by slow subscribers.", nil},
		"store_bytes":                      {"Bytes that count against store.max_bytes.", nil},
		"store_objects":                    {"Objects in the store.", nil},
		"actors_abandoned_total":           {"Incarnations that hung and were left behind.", nil},
		"mailbox_enqueued_total":           {"Messages accepted.", nil},
		"mailbox_duplicates_total":         {"Sends answered with the id of an earlier one.", nil},
		"mailbox_delivered_total":          {"Leases given.", nil},
		"mailbox_redelivered_total":        {"Leases given that were not the message's first.", nil},
		"mailbox_acked_total":              {"Messages acknowledged.", nil},
		"mailbox_nacked_total":             {"Leases given back as failed.", nil},
		"mailbox_visibility_timeout_total": {"Leases that ran out.", nil},
		"mailbox_dlq_total":                {"Messages moved to the dead-letter queue.", nil},
		"mailbox_purged_total":             {"Messages removed by order.", nil},
		"mailbox_messages":                 {"Messages held.", []string{"state"}},
		"mailbox_topics":                   {"Topics that hold messages.", nil},
		"mailbox_bytes":                    {"Bytes that count against mailbox.max_bytes.", nil},
		"mailbox_waiters":                  {"Receivers that wait for a message.", nil},
		"build_info":                       {"1; the labels say which build runs.", []string{"version", "git_sha", "go"}},
	} {
		c.descs[name] = prometheus.NewDesc(name, d.help, d.labels, own)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	counter := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.CounterValue, v, labels...)
	}
	gauge := func(name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.descs[name], prometheus.GaugeValue, v, labels...)
	}
	n := c.n
	for _, s := range n.tree.Ledger().Services() {
		counter("service_restarts_total", float64(s.Restarts), s.Name)
		gauge("service_state", 1, s.Name, s.State.String())
		gauge("queue_depth", float64(s.QueueDepth), s.Name)
	}
	r := n.Readiness()
	gauge("ready_state", readyValue(r))
	for _, dep := range slices.Compact(slices.Clone(r.Missing)) { // an actor and a cause may share a name
		gauge("ready_dependency_unmet", 1, dep)
	}
	if n.door != nil {
		n.door.InflightByRoute(func(route string, many int64) { gauge("inflight_requests", float64(many), route) })
	}
	a := n.admission()
	gauge("queue_depth", float64(a.Queued), "admission")
	gauge("admission_slots", float64(a.Inflight))
	gauge("admission_open", float64(a.Open))
	gauge("admission_flows", float64(a.Flows))
	if n.mail != nil {
		collectMail(n.mail.Load(), counter, gauge)
	}
	u, b := n.gate.Usage(), n.opt.Build
	counter("bus_lagged_total", float64(n.bus.Lagged()))
	gauge("store_bytes", float64(u.Bytes))
	gauge("store_objects", float64(u.Objects))
	counter("actors_abandoned_total", float64(n.tree.Aborted()))
	gauge("build_info", 1, b.Version, b.GitSHA, n.version().Go)
}

type sample func(name string, v float64, labels ...string)

func collectMail(l mailbox.Load, counter, gauge sample) {
	for name, v := range map[string]uint64{
		"enqueued": l.Enqueued, "duplicates": l.Duplicates, "delivered": l.Delivered, "redelivered": l.Redelivered, "acked": l.Acked,
		"nacked": l.Nacked, "visibility_timeout": l.Expired, "dlq": l.Died, "purged": l.Purged,
	} {
		counter("mailbox_"+name+"_total", float64(v))
	}
	for state, v := range map[string]int{"ready": l.Ready, "delayed": l.Delayed, "leased": l.Leased, "dead": l.Dead} {
		gauge("mailbox_messages", float64(v), state)
	}
	gauge("mailbox_topics", float64(l.Topics))
	gauge("mailbox_bytes", float64(l.Bytes))
	gauge("mailbox_waiters", float64(l.Waiters))
}

func readyValue(r *kernel.Readiness) float64 {
	switch {
	case !r.Ready:
		return 0
	case r.Degraded:
		return 1
	default:
		return 2
	}
}
