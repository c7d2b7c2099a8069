package admit

import (
	"errors"
	"time"
)

// Figures that no configuration loosens.
const (
	quantum   = 64 << 10 // bytes of one unit of cost, contract §6
	perTurn   = 1        // units that a flow of weight 1 may spend in a turn: short turns make short rounds
	credit    = 4        // units of its share that a flow of weight 1 may have left unused
	reserved  = 4        // one token in so many of the burst is for flows that come anew
	MaxWeight = 1000
	// MaxFlows is how many flows are remembered beside those that have something
	// under way.
	MaxFlows  = 4096
	openShare = 4 // one flow takes at most 3/4 of the open places
	waitLeast = 10 * time.Millisecond
	waitMost  = 30 * time.Second
)

// Limits are the bounds of an admission. A zero field means its default.
type Limits struct {
	RPS          int           // tokens a second for all flows, 500; negative: as many as are asked for
	Burst        int           // tokens that gather, RPS/10: a second at three times the rate serves 1.1 times the rate
	Inflight     int           // slots, 512
	Open         int           // requests begun and not ended, 2 × Inflight + QueueTotal; of one flow 3/4 of it
	QueuePerFlow int           // that wait, of one flow, 64; writes half of it
	QueueTotal   int           // that wait, in all, 512; writes half of it
	Wait         time.Duration // of a read in line, 30 ms; of a write half of it
	FlowRPS      int           // tokens a second of a flow that names none; 0: no quota
}

func (l Limits) withDefaults() Limits {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = max(1, value)
		}
	}
	set(&l.RPS, 500)
	set(&l.Burst, l.RPS/10)
	set(&l.Inflight, 512)
	set(&l.QueuePerFlow, 64)
	set(&l.QueueTotal, 512)
	set(&l.Open, 2*l.Inflight+l.QueueTotal)
	if l.Wait == 0 {
		l.Wait = 30 * time.Millisecond
	}
	return l
}

// reserve is how many tokens those leave who wait in turn, so that a flow that
// comes anew finds one.
func (l *Limits) reserve() float64 { return float64(l.Burst / reserved) }

// patience is how long a request of a class stands in line.
func (l *Limits) patience(c Class) time.Duration {
	if c == Write {
		return l.Wait / 2
	}
	return l.Wait
}

// places is how many requests of a class may stand in a line of n.
func places(n int, c Class) int {
	if c == Write {
		return max(1, n/2)
	}
	return n
}

// Flow is whose request it is. The weight of its latest request counts.
type Flow struct {
	Key    string
	Weight int // share of what is short, 1 to MaxWeight
	RPS    int // tokens a second; 0: Limits.FlowRPS
}

func (f Flow) weight() int { return min(max(f.Weight, 1), MaxWeight) }

// Class says what is shed first.
type Class int

// Reads are shed after writes.
const (
	Read Class = iota
	Write
	classes
)

// Why a request is refused.
var (
	ErrRate  = errors.New("admit: no token")                            // all flows together ask for more than RPS
	ErrQuota = errors.New("admit: the flow's quota is used up")         // it alone asks for more than it may
	ErrBusy  = errors.New("admit: no slot")                             // and the line is full or too slow
	ErrOpen  = errors.New("admit: too many requests begun, none ended") // in all, or of this flow
)

// Refusal is the error of a refused request.
type Refusal struct {
	Kind  error         // one of the above
	After time.Duration // until it may succeed, as far as can be told; without jitter
}

// Error implements error.
func (r *Refusal) Error() string { return r.Kind.Error() }

// Unwrap gives the kind.
func (r *Refusal) Unwrap() error { return r.Kind }

// Cost of a request that moves so many bytes: 64 KiB quanta, rounded up, and one.
func Cost(bytes int64) int {
	return int((max(bytes, 0)+quantum-1)/quantum) + 1
}
