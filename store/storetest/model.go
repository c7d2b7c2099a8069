package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"micronode/store"
)

// ModelStore is a Store with every power that the model knows of.
type ModelStore interface {
	store.Store
	store.Lister
	store.Meter
	store.Sweeper
	store.Flipper
}

// ModelOptions say how a tier differs from the others.
type ModelOptions struct {
	New      func(t *rapid.T, now func() time.Time) ModelStore // an empty one; end is called when the history is over
	End      func(t *rapid.T, s ModelStore)                    // nil: nothing to do
	Restart  func(t *rapid.T, s ModelStore) ModelStore         // ends a store and opens it again on what it has kept; nil: it keeps nothing
	Overhead int64                                             // what an object is charged beside its payload
	InPlace  bool                                              // FlipBit is seen by blobs that were open before
}

// model is the naive account of what a store holds: copies of contents, linked under their address or only held open.
type model struct {
	o      ModelOptions
	store  ModelStore
	clock  *Clock
	linked map[int]*twin // by content
	held   []hold
}

// twin is one copy in memory.
type twin struct {
	content int
	charge  int64
	expires time.Time
	flips   map[int64]bool
	pins    int // open blobs, and one while linked
}

type hold struct {
	blob store.Blob
	twin *twin
}

// ModelSizes are the lengths of contents: at and around the edges of groups.
var ModelSizes = []int{0, 1, 500, store.GroupSize, store.GroupSize + 1, 3*store.GroupSize - 7}

// ModelContent is the i-th content of the model, of ModelSizes[i] bytes.
func ModelContent(i int) []byte {
	return bytes.Repeat([]byte{byte(i + 1), 3, byte(i)}, ModelSizes[i]/3+1)[:ModelSizes[i]]
}

func (m *model) alive(i int) *twin {
	c := m.linked[i]
	if c == nil || !c.expires.IsZero() && !m.clock.Now().Before(c.expires) {
		return nil
	}
	return c
}

func (m *model) link(i int, c *twin) {
	if old := m.linked[i]; old != nil {
		old.pins--
	}
	delete(m.linked, i)
	if c != nil {
		c.pins++
		m.linked[i] = c
	}
}

func anyContent(t *rapid.T) int { return rapid.IntRange(0, len(ModelSizes)-1).Draw(t, "content") }

func (m *model) put(t *rapid.T) {
	i := anyContent(t)
	b := ModelContent(i)
	opt := store.PutOptions{Size: -1}
	if rapid.Bool().Draw(t, "declared") {
		opt.Size = int64(len(b))
	}
	opt.TTL = time.Duration(rapid.IntRange(0, 3).Draw(t, "minutes")) * time.Minute
	info, created, err := m.store.Put(context.Background(), bytes.NewReader(b), opt)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	var expires time.Time
	if opt.TTL > 0 {
		expires = m.clock.Now().Add(opt.TTL)
	}
	old := m.alive(i)
	if old != nil && (old.expires.IsZero() || !expires.IsZero() && old.expires.After(expires)) {
		expires = old.expires
	}
	if want := old == nil || len(old.flips) > 0; created != want {
		t.Fatalf("Put of content %d: created %v, want %v", i, created, want)
	}
	if created {
		m.link(i, &twin{content: i, charge: int64(len(b)) + m.o.Overhead})
	}
	m.linked[i].expires = expires
	if !info.Expires.Equal(expires) {
		t.Fatalf("Put of content %d: expires %v, want %v", i, info.Expires, expires)
	}
}

func (m *model) remove(t *rapid.T) {
	i := anyContent(t)
	err := m.store.Delete(context.Background(), store.Sum(ModelContent(i)))
	if m.alive(i) == nil {
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Delete of nothing: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Delete: %v", err)
	}
	m.link(i, nil)
}

func (m *model) open(t *rapid.T) {
	i := anyContent(t)
	blob, err := m.store.Open(context.Background(), store.Sum(ModelContent(i)))
	c := m.alive(i)
	if c == nil {
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Open of nothing: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	c.pins++
	m.held = append(m.held, hold{blob, c})
}

func (m *model) anyHold(t *rapid.T) int {
	if len(m.held) == 0 {
		m.open(t)
	}
	if len(m.held) == 0 {
		return -1
	}
	return rapid.IntRange(0, len(m.held)-1).Draw(t, "blob")
}

func (m *model) read(t *rapid.T) {
	at := m.anyHold(t)
	if at < 0 {
		return
	}
	h := m.held[at]
	b := ModelContent(h.twin.content)
	from := rapid.IntRange(0, len(b)).Draw(t, "from")
	to := rapid.IntRange(from, len(b)).Draw(t, "to")
	good := to // where the first damaged group that is touched begins
	for bit := range h.twin.flips {
		g := int(bit/8) / store.GroupSize * store.GroupSize
		if from < to && g < to && g+store.GroupSize > from {
			good = min(good, max(from, g))
		}
	}
	var out bytes.Buffer
	n, err := h.blob.WriteRange(context.Background(), &out, int64(from), int64(to-from))
	if int(n) != good-from || !bytes.Equal(out.Bytes(), b[from:good]) || (good < to) != errors.Is(err, store.ErrCorrupt) || (good == to) != (err == nil) {
		t.Fatalf("[%d, %d) of content %d: %d written, %v; want %d", from, to, h.twin.content, n, err, good-from)
	}
}

func (m *model) closeOne(t *rapid.T) {
	if at := m.anyHold(t); at >= 0 {
		m.closeAt(t, at)
	}
}

func (m *model) closeAt(t *rapid.T, at int) {
	if err := m.held[at].blob.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	m.held[at].twin.pins--
	m.held = slices.Delete(m.held, at, at+1)
}

func (m *model) flip(t *rapid.T) {
	i := anyContent(t)
	c := m.alive(i)
	bits := int64(ModelSizes[i]) * 8
	if c == nil || bits == 0 {
		return
	}
	bit := rapid.Int64Range(0, bits-1).Draw(t, "bit")
	if err := m.store.FlipBit(store.Sum(ModelContent(i)), bit); err != nil {
		t.Fatalf("FlipBit: %v", err)
	}
	if m.o.InPlace {
		if c.flips == nil {
			c.flips = map[int64]bool{}
		}
		if c.flips[bit] {
			delete(c.flips, bit)
		} else {
			c.flips[bit] = true
		}
		return
	}
	damaged := &twin{content: i, charge: c.charge, expires: c.expires, flips: map[int64]bool{bit: true}}
	for old := range c.flips {
		damaged.flips[old] = true
	}
	if c.flips[bit] {
		delete(damaged.flips, bit)
	}
	c.charge = 0
	m.link(i, damaged)
}

// restart ends the store and opens it again: what was deleted and still read is gone then.
func (m *model) restart(t *rapid.T) {
	if m.o.Restart == nil || rapid.IntRange(0, 4).Draw(t, "rarely") > 0 {
		return
	}
	for len(m.held) > 0 {
		m.closeAt(t, 0)
	}
	m.store = m.o.Restart(t, m.store)
}

func (m *model) advance(t *rapid.T) {
	m.clock.Advance(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
}

func (m *model) sweep(t *rapid.T) {
	want := 0
	for i := range m.linked {
		if m.alive(i) == nil {
			want++
		}
	}
	if got := m.store.Sweep(m.clock.Now()); got != want {
		t.Fatalf("swept %d, want %d", got, want)
	}
	for i := range ModelSizes {
		if m.alive(i) == nil {
			m.link(i, nil)
		}
	}
}

// check compares usage after every step.
func (m *model) check(t *rapid.T) {
	var bytes int64
	seen := map[*twin]bool{}
	count := func(c *twin) {
		if !seen[c] {
			bytes += c.charge
		}
		seen[c] = true
	}
	for _, h := range m.held {
		count(h.twin)
	}
	for _, c := range m.linked {
		count(c)
	}
	if u := m.store.Usage(); u.Bytes != bytes || u.Objects != int64(len(m.linked)) {
		t.Fatalf("usage %+v, want %d objects of %d bytes", u, len(m.linked), bytes)
	}
}

func (m *model) list(t *rapid.T) {
	var want []store.Address
	for i := range ModelSizes {
		if m.alive(i) != nil {
			want = append(want, store.Sum(ModelContent(i)))
		}
	}
	slices.SortFunc(want, store.Address.Compare)
	got, err := m.store.List(context.Background(), store.Address{}, 0)
	if err != nil || !slices.EqualFunc(got, want, func(i store.Info, a store.Address) bool { return i.Address == a }) {
		t.Fatalf("List: %v, %v; want %v", got, err, want)
	}
}

// RunModel holds a Store against a naive account of it, over random histories.
func RunModel(t *testing.T, o ModelOptions) {
	rapid.Check(t, func(t *rapid.T) {
		clock := NewClock()
		m := &model{o: o, store: o.New(t, clock.Now), clock: clock, linked: map[int]*twin{}}
		defer func() {
			if o.End != nil {
				o.End(t, m.store)
			}
		}()
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "delete": m.remove, "open": m.open, "read": m.read, "close": m.closeOne,
			"flip": m.flip, "advance": m.advance, "sweep": m.sweep, "list": m.list, "restart": m.restart, "": m.check,
		})
		for len(m.held) > 0 {
			m.closeAt(t, 0)
		}
		m.clock.Advance(time.Hour)
		m.sweep(t)
		for i := range ModelSizes {
			if m.alive(i) != nil {
				if err := m.store.Delete(context.Background(), store.Sum(ModelContent(i))); err != nil {
					t.Fatalf("Delete: %v", err)
				}
			}
		}
		if u := m.store.Usage(); u.Bytes != 0 || u.Objects != 0 {
			t.Fatalf("all deleted and closed: %+v", u)
		}
	})
}
