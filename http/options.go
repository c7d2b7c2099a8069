package httpapi

import (
	"errors"
	"time"

	"micronode/http/admit"
)

// Figures of the door that no config key loosens.
const (
	operatorInflight = 64                     // requests on the operator socket, and admin requests on TCP, each
	operatorConns    = 128                    // connections on the operator socket
	metricsConns     = 64                     // connections on metrics_addr
	maxTails         = 32                     // bus tails, on each plane
	maxOrderBytes    = 4 << 10                // body of an order
	sliceBytes       = 64 << 10               // what one read or write deadline covers
	drainIdle        = 500 * time.Millisecond // how long a connection idles in a drain before it is closed
	drainSettle      = 50 * time.Millisecond  // for handshakes under way when a drain begins
	tailSettle       = 250 * time.Millisecond // for tails and orders to end at Close
	closeWait        = 2 * time.Second        // for handlers to notice that they were cut, at most
	closeLeast       = 100 * time.Millisecond // the same, at least
	maxUnfinished    = 96 << 20               // bytes of bodies that are on their way and nobody has charged, in all
)

// Limits are the bounds of contract §6. A zero field means its default; a
// negative RPS means no rate limit.
type Limits struct {
	RPS            int           // data requests a second, 500
	Inflight       int           // data requests at work at a time, 512
	QueuePerFlow   int           // that may wait for a slot or a token, of one client, 64
	QueueTotal     int           // the same, of all clients, 512
	QueueWait      time.Duration // how long a read may wait so, 30 ms; a write half of it
	FlowRPS        int           // data requests a second of one client; 0: no bound of its own
	MaxBodyBytes   int64         // of a body with Content-Length, 1 MiB
	MaxObjectBytes int64         // of a streamed body, 64 MiB
	InflateRatio   int           // plain bytes of a body to its compressed ones, 10
	InflateBytes   int64         // plain bytes of a compressed body, 8 MiB
	MaxConns       int           // on the data plane, 1024
	MaxHeaderBytes int           // of request line and headers, 16 KiB
	RequestTimeout time.Duration // per request, and per 64 KiB of a body either way, 5 s
	HeaderTimeout  time.Duration // 2 s
	IdleTimeout    time.Duration // between requests of a connection, 60 s
	MaxTTL         time.Duration // of X-Ron-Ttl; 0: no bound
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.RPS, 500)
	setDefault(&l.Inflight, 512)
	setDefault(&l.MaxBodyBytes, 1<<20)
	setDefault(&l.MaxObjectBytes, 64<<20)
	setDefault(&l.QueuePerFlow, 64)
	setDefault(&l.QueueTotal, 512)
	setDefault(&l.QueueWait, 30*time.Millisecond)
	setDefault(&l.InflateRatio, 10)
	setDefault(&l.InflateBytes, 8<<20)
	setDefault(&l.MaxConns, 1024)
	setDefault(&l.MaxHeaderBytes, 16<<10)
	setDefault(&l.RequestTimeout, 5*time.Second)
	setDefault(&l.HeaderTimeout, 2*time.Second)
	setDefault(&l.IdleTimeout, time.Minute)
	return l
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// SocketOptions describe the operator socket (contract §1).
type SocketOptions struct {
	Path      string // empty: no operator socket
	Explicit  bool   // the path was asked for: no fallback beside it, no change to its directory's mode
	AllowUIDs []int  // empty: the node's own
}

// Options configure a Door.
type Options struct {
	HTTPAddr     string // data and admin plane, host:port
	OAPAddr      string // OAP/1, host:port; empty: not served
	MetricsAddr  string // empty: /metrics is on the data plane
	Socket       SocketOptions
	Limits       Limits
	Fairness     Fairness
	Auth         Auth
	TLS          TLSFiles // zero: plain
	AllowedHosts []string // Host names taken on a loopback bind besides the loopback names
	Ports        Ports
}

func (o Options) validate() error {
	switch {
	case o.HTTPAddr == "":
		return errors.New("httpapi: Options.HTTPAddr is empty: name host:port")
	case o.Ports.Objects == nil, o.Ports.Ready == nil, o.Ports.Status == nil, o.Ports.Version == nil, o.Ports.Now == nil:
		return errors.New("httpapi: Ports must have Objects, Ready, Status, Version and Now")
	}
	return nil
}

// gate is what admission needs to know.
func (l Limits) gate() admit.Limits {
	return admit.Limits{
		RPS: l.RPS, Inflight: l.Inflight, QueuePerFlow: l.QueuePerFlow, QueueTotal: l.QueueTotal, Wait: l.QueueWait, FlowRPS: l.FlowRPS,
	}
}
