package kernel

import "time"

// Kinds of events. The first four are frozen (contract §10).
const (
	KindHealth         = "Health"         // a child began or ceased to run: HealthData
	KindConfigUpdated  = "ConfigUpdated"  // published by the host
	KindServiceCrashed = "ServiceCrashed" // CrashData
	KindShutdown       = "Shutdown"       // published by the host

	KindReadyChanged     = "ReadyChanged"     // ReadyData
	KindRestartStorm     = "RestartStorm"     // StormData
	KindQuarantined      = "Quarantined"      // StormData
	KindServiceRestarted = "ServiceRestarted" // an operator's order: RestartData
	KindForgiven         = "Forgiven"         // a child's past no longer counts
	KindFault            = "Fault"            // something else that a person should know: FaultData
)

// Event is one line of the bus. Seq counts from 1 without gaps over all
// topics, so a subscriber of one topic sees gaps that mean nothing; what it
// lost itself is told by the lag of [Sub.Next].
type Event struct {
	Seq     uint64    `json:"seq"`
	TS      time.Time `json:"ts"`
	Topic   string    `json:"topic"` // e.g. micronode.crash
	Kind    string    `json:"kind"`
	Service string    `json:"service,omitempty"`
	CorrID  string    `json:"corr_id,omitempty"`
	Data    any       `json:"data,omitempty"` // immutable after Publish
}

// HealthData goes with Health.
type HealthData struct {
	OK    bool   `json:"ok"`
	State string `json:"state"`
}

// CrashData goes with ServiceCrashed.
type CrashData struct {
	Reason   string `json:"reason"`
	Stack    string `json:"stack,omitempty"`
	Restarts int64  `json:"restarts"` // crashes and ordered restarts since the tree began
	Recent   int    `json:"recent"`   // crashes inside the window
	DelayMS  int64  `json:"delay_ms"` // until the next incarnation
	State    string `json:"state"`    // backoff | storm | quarantined
}

// StormData goes with RestartStorm and Quarantined.
type StormData struct {
	Recent   int    `json:"recent"`
	WindowMS int64  `json:"window_ms"`
	DelayMS  int64  `json:"delay_ms"`
	Next     string `json:"next"` // what a person can do
}

// RestartData goes with ServiceRestarted.
type RestartData struct {
	Reason   string `json:"reason"`
	Restarts int64  `json:"restarts"`
}

// ReadyData goes with ReadyChanged.
type ReadyData struct {
	Ready    bool              `json:"ready"`
	Degraded bool              `json:"degraded"`
	Missing  []string          `json:"missing"`
	Planes   map[string]string `json:"planes,omitempty"`
}

// FaultData goes with Fault.
type FaultData struct {
	What  string `json:"what"`
	Stack string `json:"stack,omitempty"`
}
