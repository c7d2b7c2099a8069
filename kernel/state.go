package kernel

// State is the state of one child.
type State uint8

// The states of a child, in the words of contract §9.
const (
	Starting    State = iota // an incarnation is being started
	Running                  // serves
	Backoff                  // crashed; the next incarnation is due after a jittered delay
	Storm                    // crashed too often; restarts only at the cap, one at a time
	Probing                  // runs again after a storm or quarantine, not yet trusted
	Quarantined              // waits for an operator's restart or the half-open probe
	Stopping                 // told to stop
	Stopped                  // will not come back
)

// String returns the word that readiness bodies and metrics use.
func (s State) String() string {
	return [...]string{"starting", "running", "backoff", "storm", "probing", "quarantined", "stopping", "stopped"}[s]
}

// serves reports whether messages reach an incarnation in this state.
func (s State) serves() bool { return s == Running || s == Probing }

// Plane says what a plane of the host program takes (contract §4).
type Plane uint8

// The states of a plane, from worst to best.
const (
	Closed   Plane = iota // neither reads nor writes
	ReadOnly              // reads only
	Open                  // everything
)

// String returns "closed", "read_only" or "open".
func (p Plane) String() string { return [...]string{"closed", "read_only", "open"}[p] }
