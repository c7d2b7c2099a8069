package actors

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
)

// Figures of a scrub.
const (
	noteScrub     = "scrub"
	scrubNoted    = 5 * time.Second // how often the way so far is written down
	scrubPatience = time.Minute     // between looks at whether one is due, and after trouble
)

// Scrubber is a Disk that can look for damage, and says what it knows of.
type Scrubber interface {
	Inspect(ctx context.Context, after store.Address, f func(store.Finding) bool) error
	Quarantine(a store.Address, detail string)
	Quarantined(ctx context.Context) ([]store.Finding, error)
}

// scrubState is a walk over everything: as it is kept, and as it is shown.
type scrubState struct {
	Running  bool          `json:"running"`
	Started  time.Time     `json:"started"`
	Finished time.Time     `json:"finished"` // of the latest whole walk
	After    store.Address `json:"after"`    // how far it is
	Objects  int64         `json:"objects"`  // in this walk, or the latest
	Bytes    int64         `json:"bytes"`
	Damaged  int64         `json:"damaged"`
	Healed   int64         `json:"healed"`
}

// scrub is the walk of one node. It belongs to the node and outlives the storage
// actor's incarnations.
type scrub struct {
	mu    sync.Mutex // guards state
	state scrubState
	now   chan struct{} // one token: somebody wants one at once
}

func (s *scrub) look() scrubState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *scrub) change(f func(*scrubState)) scrubState {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state)
	return s.state
}

// order asks for a walk now; false: one is on its way.
func (s *scrub) order() bool {
	if s.look().Running {
		return false
	}
	select {
	case s.now <- struct{}{}:
	default:
	}
	return true
}

// resumeScrub reads how far the last walk came.
func (n *Node) resumeScrub() {
	b, err := n.disk.Note(noteScrub)
	if err != nil {
		return // none yet, or not readable: it begins anew
	}
	n.scrub.change(func(s *scrubState) {
		if json.Unmarshal(b, s) != nil {
			*s = scrubState{}
		}
	})
}

// scrubbing walks over everything, again and again, until ctx ends.
func (n *Node) scrubbing(ctx context.Context) error {
	for {
		if !n.scrub.look().Running && !n.awaitScrub(ctx) {
			return nil
		}
		err := n.walk(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // the disk has failed, or is being opened anew
			pause(ctx, n.scrubRetry())
		}
	}
}

func (n *Node) scrubRetry() time.Duration { return min(scrubPatience, reopenEvery*2) }

// awaitScrub waits until a walk is due or ordered; false: ctx ended.
func (n *Node) awaitScrub(ctx context.Context) bool {
	for {
		s := n.scrub.look()
		if s.Finished.IsZero() && s.Started.IsZero() { // a new directory: the first walk is due an interval from now
			n.scrub.change(func(s *scrubState) { s.Finished = n.opt.Now() })
			continue
		}
		wait := s.Finished.Add(n.config().Config.Store.ScrubInterval).Sub(n.opt.Now())
		if wait <= 0 {
			return true
		}
		t := time.NewTimer(min(wait, scrubPatience))
		select {
		case <-n.scrub.now:
			t.Stop()
			return true
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
	}
}

// walk goes on with the walk that runs, or begins one.
func (n *Node) walk(ctx context.Context) error {
	disk := n.disk.(Scrubber)
	s := n.scrub.change(func(s *scrubState) {
		if !s.Running {
			*s = scrubState{Running: true, Started: n.opt.Now(), Finished: s.Finished}
		}
	})
	known := n.knownDamage(ctx, disk)
	noted, pace := n.opt.Now(), pacer{rate: float64(n.cfg.Store.ScrubRate), now: time.Now}
	var stopped error
	err := disk.Inspect(ctx, s.After, func(f store.Finding) bool {
		n.inspected(ctx, disk, f, known)
		if now := n.opt.Now(); now.Sub(noted) >= scrubNoted {
			noted = now
			if stopped = n.noteScrub(); stopped != nil {
				return false
			}
		}
		return pace.take(ctx, max(f.Size, 0))
	})
	if err := errors.Join(err, stopped, ctx.Err()); err != nil {
		_ = n.noteScrub() // as far as it came; the next start begins a little earlier without
		return err
	}
	n.scrub.change(func(s *scrubState) { s.Running, s.After, s.Finished = false, store.Address{}, n.opt.Now() })
	done := n.scrub.look()
	if done.Damaged == done.Healed {
		n.tree.Ledger().Clear(causeRot)
	}
	n.bus.Publish(kernel.Event{Topic: topic("store"), Kind: "ScrubFinished", Service: actorStorage, Data: scrubData{
		Objects: done.Objects, Bytes: done.Bytes, Damaged: done.Damaged, Healed: done.Healed, TookMS: done.Finished.Sub(done.Started).Milliseconds(),
	}})
	return n.noteScrub()
}

type scrubData struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	Damaged int64 `json:"damaged"`
	Healed  int64 `json:"healed"`
	TookMS  int64 `json:"took_ms"`
}

func (n *Node) knownDamage(ctx context.Context, disk Scrubber) map[store.Address]struct{} {
	known := map[store.Address]struct{}{}
	all, err := disk.Quarantined(ctx)
	if err != nil {
		return known // then nothing leaves quarantine in this walk
	}
	for _, f := range all {
		known[f.Address] = struct{}{}
	}
	return known
}

// inspected takes note of one object.
func (n *Node) inspected(ctx context.Context, disk Scrubber, f store.Finding, known map[store.Address]struct{}) {
	healed := false
	switch {
	case f.Err == nil:
		if _, was := known[f.Address]; was {
			disk.Quarantine(f.Address, "")
		}
	case f.Address == (store.Address{}):
		n.damaged("scrub", f.Err)
	default:
		n.found(ctx, f.Address, "scrub", f.Detail)
		healed = n.mend(ctx, f.Address)
	}
	n.scrub.change(func(s *scrubState) {
		if f.Address != (store.Address{}) {
			s.After = f.Address
			s.Objects++
		}
		s.Bytes += max(f.Size, 0)
		if f.Err != nil {
			s.Damaged++
		}
		if healed {
			s.Healed++
		}
	})
}

func (n *Node) noteScrub() error {
	b, err := json.Marshal(n.scrub.look())
	if err != nil {
		return err
	}
	return n.disk.SetNote(noteScrub, b)
}

// pacer bounds bytes a second.
type pacer struct {
	rate float64
	now  func() time.Time
	due  time.Time
}

// take waits until n bytes may have been read; false: ctx ended.
func (p *pacer) take(ctx context.Context, n int64) bool {
	now := p.now()
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	if ahead := p.due.Sub(now); ahead > 20*time.Millisecond {
		return pause(ctx, ahead)
	}
	return ctx.Err() == nil
}

// pause waits; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// found quarantines an object, and tells.
func (n *Node) found(ctx context.Context, a store.Address, where, detail string) {
	n.corrupt.Add(1)
	n.metrics.integrity(where)
	if s, ok := n.disk.(Scrubber); ok {
		s.Quarantine(a, detail)
	}
	n.bus.Publish(kernel.Event{
		Topic: topic("store"), Kind: "IntegrityFailed", Service: actorStorage, CorrID: httpapi.CorrID(ctx),
		Data: damageData{Address: a.String(), Where: where, Detail: detail},
	})
}

// damageData goes with IntegrityFailed.
type damageData struct {
	Address string `json:"address,omitempty"` // of the object
	What    string `json:"what,omitempty"`    // mailbox | engine | scrub, where no address is known
	Where   string `json:"where,omitempty"`   // read | scrub
	Detail  string `json:"detail,omitempty"`
}
