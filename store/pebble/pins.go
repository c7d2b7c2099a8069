package pebble

import (
	"sync"

	"micronode/store"
)

const pinShards = 64

// pins keeps payloads that are being read from being deleted under the reader. A reader looks the object up and pins it
// under the shared lock; a deletion dooms it under the other, so there is no moment between the two steps.
type pins struct {
	*sync.RWMutex                     // guards the order of the steps
	mu            *sync.Mutex         // guards what follows
	held          map[blobID]int      // readers
	doomed        map[blobID]struct{} // being deleted
	last          map[blobID]func()   // to be called by the last reader
}

func newPins() pins {
	return pins{
		RWMutex: &sync.RWMutex{}, mu: &sync.Mutex{},
		held: map[blobID]int{}, doomed: map[blobID]struct{}{}, last: map[blobID]func(){},
	}
}

func (s *Store) pinsOf(a store.Address) *pins { return &s.pins[a[0]%pinShards] }

// pin is called under the shared lock. False: the payload is being deleted.
func (p *pins) pin(id blobID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, gone := p.doomed[id]; gone {
		return false
	}
	p.held[id]++
	return true
}

func (p *pins) unpin(id blobID) {
	p.mu.Lock()
	p.held[id]--
	var last func()
	if p.held[id] == 0 {
		delete(p.held, id)
		last = p.last[id]
		delete(p.last, id)
	}
	p.mu.Unlock()
	if last != nil {
		last()
	}
}

// doom keeps new readers out, and reports whether there are some.
func (p *pins) doom(id blobID) (read bool) {
	p.Lock()
	defer p.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed[id] = struct{}{}
	return p.held[id] > 0
}

// spare ends what doom began: the deletion has been committed, or has failed.
func (p *pins) spare(id blobID) {
	p.Lock()
	defer p.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.doomed, id)
}

// whenFree calls f when the last reader has left: now, or by unpin.
func (p *pins) whenFree(id blobID, f func()) {
	p.mu.Lock()
	if p.held[id] > 0 {
		p.last[id] = f
		f = nil
	}
	p.mu.Unlock()
	if f != nil {
		f()
	}
}

func (p *pins) read(id blobID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[id] > 0
}
