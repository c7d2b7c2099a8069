package actors

import (
	"context"
	"errors"
	"sync"
	"time"

	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store"
)

// maxToldDamaged bounds the lists of damaged objects in one answer.
const maxToldDamaged = 1000

// Keeper is a Disk that can copy itself.
type Keeper interface {
	Backup(ctx context.Context, dir string, progress func(bytes int64)) (store.Manifest, error)
}

// Worker is a Disk that counts its work.
type Worker interface{ Counts() (syncs, written int64) }

// storekeeper shows the disk to the operator and carries out orders (httpapi.Storage).
type storekeeper struct{ n *Node }

// State implements httpapi.Storage.
func (k storekeeper) State(ctx context.Context) (httpapi.StorageState, error) {
	n := k.n
	u, space, s := n.disk.Usage(), n.disk.Look(), n.scrub.look()
	w := httpapi.StorageState{
		Tier: n.tierName(), Dir: n.cfg.Store.Dir, Objects: u.Objects, Bytes: u.Bytes, MaxBytes: u.MaxBytes, Free: space.Free, Reserve: space.Reserve,
		Peers: append([]string{}, n.cfg.Peers...), Damaged: []httpapi.Damaged{},
		Scrub: httpapi.ScrubState{
			Running: s.Running, Started: timeOrNil(s.Started), Finished: timeOrNil(s.Finished), Objects: s.Objects, Bytes: s.Bytes, Damaged: s.Damaged, Healed: s.Healed,
		},
	}
	if !s.Running && !s.Finished.IsZero() {
		next := s.Finished.Add(n.cfg.Store.ScrubInterval)
		w.Scrub.Next = &next
	}
	if err := n.disk.Failed(); err != nil {
		w.Failed = err.Error()
	}
	if c, ok := n.disk.(Worker); ok {
		w.Work = &httpapi.WorkCounts{}
		w.Work.Syncs, w.Work.Written = c.Counts()
	}
	damaged, err := n.quarantined(ctx)
	for _, f := range damaged[:min(len(damaged), maxToldDamaged)] {
		w.Damaged = append(w.Damaged, httpapi.Damaged{Address: f.Address, Found: f.Found, Detail: f.Detail})
	}
	return w, err
}

func (n *Node) quarantined(ctx context.Context) ([]store.Finding, error) {
	s, ok := n.disk.(Scrubber)
	if !ok {
		return nil, nil
	}
	return s.Quarantined(ctx)
}

// Scrub implements httpapi.Storage.
func (k storekeeper) Scrub(context.Context) (httpapi.Done, error) {
	if !k.n.scrub.order() {
		return httpapi.Done{}, httpapi.Refuse(httpapi.ErrConflict, "A scrub is on its way already. GET /api/v1/storage says how far it is.")
	}
	return httpapi.Done{OK: true, Detail: "it reads everything at store.scrub_rate; GET /api/v1/storage says how far it is"}, nil
}

// Repair implements httpapi.Storage.
func (k storekeeper) Repair(ctx context.Context, only *store.Address) (httpapi.Repaired, error) {
	n := k.n
	if n.healer == nil {
		return httpapi.Repaired{}, httpapi.Refuse(httpapi.ErrConflict, "There is nobody to repair from: peers is empty. Name other nodes there, or put the damaged objects again.")
	}
	var all []store.Address
	if only != nil {
		all = append(all, *only)
	} else {
		damaged, err := n.quarantined(ctx)
		if err != nil {
			return httpapi.Repaired{}, err
		}
		for _, f := range damaged {
			all = append(all, f.Address)
		}
	}
	done := httpapi.Repaired{Tried: len(all), Failed: []httpapi.Failed{}}
	var mu sync.Mutex // guards done
	var work sync.WaitGroup
	next := make(chan store.Address)
	for range healers {
		work.Go(func() {
			for a := range next {
				err := n.healer.heal(ctx, a)
				mu.Lock()
				switch {
				case err == nil:
					done.Healed++
				case len(done.Failed) < maxToldDamaged:
					done.Failed = append(done.Failed, httpapi.Failed{Address: a, Detail: err.Error()})
				}
				mu.Unlock()
			}
		})
	}
	for _, a := range all {
		next <- a
	}
	close(next)
	work.Wait()
	return done, ctx.Err()
}

// Backup implements httpapi.Storage.
func (k storekeeper) Backup(ctx context.Context, dir string) (httpapi.BackupDone, error) {
	keeper, ok := k.n.disk.(Keeper)
	if !ok {
		return httpapi.BackupDone{}, httpapi.Refuse(httpapi.ErrConflict, "This tier cannot be backed up.")
	}
	if !k.n.backingUp.TryLock() {
		return httpapi.BackupDone{}, httpapi.Refuse(httpapi.ErrConflict, "A backup is on its way already. Wait for it.")
	}
	defer k.n.backingUp.Unlock()
	m, err := keeper.Backup(ctx, dir, nil)
	switch {
	case errors.Is(err, store.ErrNotReady):
		return httpapi.BackupDone{}, err
	case err != nil:
		return httpapi.BackupDone{}, httpapi.Refuse(httpapi.ErrConflict, "No backup was made: "+err.Error()+".")
	}
	k.n.bus.Publish(kernel.Event{Topic: topic("store"), Kind: "BackupMade", Service: actorStorage, Data: struct {
		Dir     string    `json:"dir"`
		Objects int64     `json:"objects"`
		Created time.Time `json:"created"`
	}{dir, m.Objects, m.Created}})
	return httpapi.BackupDone{Dir: dir, Created: m.Created, Objects: m.Objects, Bytes: m.Bytes, Messages: m.Messages, Damaged: m.Damaged}, nil
}
