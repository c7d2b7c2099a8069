package kernel

import (
	"context"
	"sync/atomic"
	"time"
)

// watched is the incarnation of one child that the watchdog looks at: the one
// that runs, or the one that is being stopped.
type watched = atomic.Pointer[incarnation]

// watchdog tells the root of every turn that is past its limit. It looks four
// times per limit, so a hang is found at most a quarter late.
func watchdog(ctx context.Context, every time.Duration, all []*watched, now func() time.Time, tell func(any)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, w := range all {
			inc := w.Load()
			if inc == nil {
				continue
			}
			if turn, limit, over := inc.stuck(now()); over {
				tell(hung{inc, turn, limit})
			}
		}
	}
}
