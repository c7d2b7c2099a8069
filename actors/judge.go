package actors

import (
	"context"
	"fmt"
	"time"

	"micronode/http/policy"
	"micronode/kernel"
)

// policyWatchdog is how long the policy actor may be busy with one message: its
// silence denies everything, so a hang must be found soon.
const policyWatchdog = 500 * time.Millisecond

type beat struct{}

// judge is the policy actor: it vouches for the policy in force, again and again.
// Requests are decided in their own goroutines by what it has lent; while it does
// not run, or is silent, everything is denied.
type judge struct{ n *Node }

// Start lends the policy.
func (j *judge) Start(_ context.Context, life *kernel.Life) error {
	j.n.verdicts.Lend(j.n.files.Load().policy)
	life.Tick(policy.BeatEvery, beat{})
	return nil
}

// Receive vouches. What it does not know is no reason to go on.
func (j *judge) Receive(_ context.Context, msg any) error {
	if _, ok := msg.(beat); !ok {
		return fmt.Errorf("a message of type %T is none for the policy", msg)
	}
	j.n.verdicts.Beat()
	return nil
}

// Stop denies everything.
func (j *judge) Stop() { j.n.verdicts.Withdraw() }
