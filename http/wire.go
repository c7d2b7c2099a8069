package httpapi

import (
	"encoding/json"
	"time"
)

// Media types of the wire.
const (
	TypeProblem = "application/problem+json" // RFC 9457
	TypeNDJSON  = "application/x-ndjson"
	TypeSSE     = "text/event-stream"
	TypeJSON    = "application/json"
	TypeOctets  = "application/octet-stream"
)

// Problem is the body of every refusal (RFC 9457, contract §5).
type Problem struct {
	Type         string `json:"type"` // urn:micronode:problem:<code>
	Title        string `json:"title"`
	Status       int    `json:"status"`
	Detail       string `json:"detail"`    // what, why, what next
	Code         string `json:"code"`      // contract §5
	Reason       string `json:"reason"`    // finer than the code: store_bytes, rps, read_only
	Retryable    bool   `json:"retryable"` // the same request may succeed later
	CorrID       string `json:"corr_id"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"` // precise; the Retry-After header is this, rounded up to seconds
}

// Stored answers POST and PUT /put (contract §2).
type Stored struct {
	Address string `json:"address"` // b3:<64 hex>
	Size    int64  `json:"size"`    // bytes
}

// Listed is one object of a Listing.
type Listed struct {
	Address string     `json:"address"`
	Size    int64      `json:"size"`              // bytes
	Expires *time.Time `json:"expires,omitempty"` // absent: kept until deleted
}

// Listing answers GET /o: objects in ascending order of address. Cursor is
// empty on the last page, else the value for the next ?cursor=.
type Listing struct {
	Objects []Listed `json:"objects"`
	Cursor  string   `json:"cursor,omitempty"`
}

// Plane states of Readiness.Planes (contract §4).
const (
	PlaneOpen     = "open"
	PlaneReadOnly = "read_only"
	PlaneClosed   = "closed"
)

// Readiness answers GET /readyz (contract §4). Ready false is a 503; ready and
// degraded is a 200 with the header Ron-Ready: degraded.
type Readiness struct {
	Ready      bool              `json:"ready"`
	Degraded   bool              `json:"degraded"`
	Missing    []string          `json:"missing"`               // actors that do not run, causes that hold; sorted, never null
	Planes     map[string]string `json:"planes,omitempty"`      // plane -> open | read_only | closed
	RetryAfter int               `json:"retry_after,omitempty"` // seconds until a retry is sensible; 0 when ready
	Services   []ServiceState    `json:"services,omitempty"`    // only with ?verbose
	Causes     []Cause           `json:"causes,omitempty"`      // only with ?verbose
}

// WritesOpen reports whether every plane takes writes: the question of
// GET /readyz?scope=write.
func (r Readiness) WritesOpen() bool {
	for _, p := range r.Planes {
		if p != PlaneOpen {
			return false
		}
	}
	return r.Ready
}

// Cause is one reason for degradation that is not an actor's state.
type Cause struct {
	Name   string `json:"name"`             // e.g. store_headroom
	Detail string `json:"detail,omitempty"` // one line for a person
	Effect string `json:"effect"`           // warn | read_only | closed | not_ready
	Plane  string `json:"plane,omitempty"`
}

// ServiceState is one supervised actor as /readyz?verbose and /api/v1/status show it.
type ServiceState struct {
	Name        string     `json:"name"`
	State       string     `json:"state"` // starting | running | backoff | storm | probing | quarantined | stopping | stopped
	Required    bool       `json:"required"`
	Planes      []string   `json:"planes,omitempty"` // planes that are read-only while it is down
	Restarts    int64      `json:"restarts"`         // since the node started
	LastReason  string     `json:"last_reason,omitempty"`
	LastCrash   *time.Time `json:"last_crash,omitempty"`
	Since       time.Time  `json:"since"` // when the state began
	NextRestart *time.Time `json:"next_restart,omitempty"`
	QueueDepth  int        `json:"queue_depth"` // messages waiting
	QueueCap    int        `json:"queue_cap"`
}

// Status answers GET /api/v1/status: the actor tree, in order of start.
type Status struct {
	Service   string         `json:"service"`
	Version   string         `json:"version"`
	PID       int            `json:"pid"`
	Started   time.Time      `json:"started"`
	UptimeMS  int64          `json:"uptime_ms"`
	Mode      string         `json:"mode"` // dev | cap
	Amnesia   bool           `json:"amnesia"`
	Listeners []Listener     `json:"listeners"`
	Readiness Readiness      `json:"readiness"`
	Services  []ServiceState `json:"services"`
	Store     StoreStatus    `json:"store"`
	Bus       BusStatus      `json:"bus"`
	Inflight  int64          `json:"inflight"`
	Conns     int64          `json:"conns"`
}

// Listener is one bound address.
type Listener struct {
	Plane   string `json:"plane"`   // data | metrics | operator
	Network string `json:"network"` // tcp | unix
	Address string `json:"address"`
}

// StoreStatus is the fill of the object store.
type StoreStatus struct {
	Tier     string `json:"tier"` // ram
	Objects  int64  `json:"objects"`
	Bytes    int64  `json:"bytes"`
	MaxBytes int64  `json:"max_bytes"`
}

// BusStatus is the state of the event bus.
type BusStatus struct {
	Seq         uint64 `json:"seq"` // of the newest event
	Subscribers int    `json:"subscribers"`
	Lagged      uint64 `json:"lagged"` // events dropped for slow subscribers, in all
}

// Version answers GET /version (contract §4).
type Version struct {
	Service       string   `json:"service"`
	Version       string   `json:"version"`
	GitSHA        string   `json:"git_sha"`
	BuildTS       string   `json:"build_ts"`
	Go            string   `json:"go"`
	Features      Features `json:"features"`
	PQ            PQ       `json:"pq"`
	ConfigSHA     string   `json:"config_sha"`
	ConfigVersion uint64   `json:"config_version"`
	API           API      `json:"api"`
	AuthMode      string   `json:"auth_mode"`
}

// Features says what this node does, never what it could do.
type Features struct {
	Amnesia         bool `json:"amnesia"`
	AmnesiaEnforced bool `json:"amnesia_enforced"`
	TLS             bool `json:"tls"`
	OAP             bool `json:"oap"`
	Mailbox         bool `json:"mailbox"`
	Persistence     bool `json:"persistence"`
	Chaos           bool `json:"chaos"`
}

// PQ is the post-quantum posture.
type PQ struct {
	Mode   string   `json:"mode"`
	Groups []string `json:"groups"`
}

// API names the versions of the protocols that the node speaks; OAP 0 is none.
type API struct {
	HTTP string `json:"http"`
	OAP  int    `json:"oap"`
}

// Event is one line of GET /api/v1/bus/tail (contract §10). Lagged, when not
// zero, counts the events that were lost for this subscriber just before it.
type Event struct {
	Seq     uint64          `json:"seq"`
	TS      time.Time       `json:"ts"`
	Topic   string          `json:"topic"`
	Kind    string          `json:"kind"`
	Service string          `json:"service,omitempty"`
	CorrID  string          `json:"corr_id,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Lagged  uint64          `json:"lagged,omitempty"`
}

// Order asks for something to be done to one actor: the body of
// POST /api/v1/restart, /api/v1/chaos/kill and /api/v1/chaos/hang.
type Order struct {
	Service string `json:"service"`
	Reason  string `json:"reason,omitempty"` // at most 256 bytes; goes into events
}

// Done answers a carried-out Order.
type Done struct {
	OK       bool     `json:"ok"`
	Service  string   `json:"service,omitempty"`
	Restarts int64    `json:"restarts,omitempty"` // the actor's count after the order
	Version  uint64   `json:"version,omitempty"`  // of the configuration in force, after a reload
	Changed  []string `json:"changed,omitempty"`  // keys that a reload changed
	Detail   string   `json:"detail,omitempty"`
}
