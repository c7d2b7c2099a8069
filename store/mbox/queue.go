package mbox

import (
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// Options configure a queue. Zero figures mean the contract's defaults.
type Options struct {
	Shard       uint8         // goes into receipts
	Capacity    int           // messages of every state, 4096
	MaxAttempts int           // deliveries before a message is dead, 5
	Visibility  time.Duration // default lease, 5 s
	DedupWindow time.Duration // how long a key is remembered, 300 s
	BackoffBase time.Duration // backoff is rand(0, min(cap, base·2^attempt)), 200 ms
	BackoffCap  time.Duration // 60 s
	RequireKey  bool          // Send without a key is ErrKeyNeeded
	Bytes       *Budget       // of payloads and books, shared by all shards; nil: no bound
	Inflight    *Budget       // of leases, shared by all shards; nil: no bound
	Journal     bool          // note what changes, for [Queue.Changes]
	Seed        [32]byte      // of receipts, ids and jitter (ChaCha8): secret and random, or fixed in tests

	// Hooks, called in the middle of a call: they must not call the queue. All may be nil.
	OnReady func(topic string) // a message of the topic became ready and was not before
	OnDead  func(DeadLetter)   // a message moved to the dead-letter queue
	OnRoom  func(*Holder)      // a lease of the holder ended
}

func (o Options) withDefaults() Options {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&o.Capacity, 4096)
	orInt(&o.MaxAttempts, 5)
	orTime(&o.Visibility, 5*time.Second)
	orTime(&o.DedupWindow, 300*time.Second)
	orTime(&o.BackoffBase, 200*time.Millisecond)
	orTime(&o.BackoffCap, 60*time.Second)
	if o.OnReady == nil {
		o.OnReady = func(string) {}
	}
	if o.OnDead == nil {
		o.OnDead = func(DeadLetter) {}
	}
	if o.OnRoom == nil {
		o.OnRoom = func(*Holder) {}
	}
	return o
}

// Queue is one shard; see the package's documentation.
type Queue struct {
	o      Options
	clock  time.Duration // the latest Mono seen
	source *rand.ChaCha8
	rand   *rand.Rand                              // draws from source
	jitter func(limit time.Duration) time.Duration // rand(0, limit)

	// The truth. Rebuild trusts it.
	table    map[ID]*message
	keys     keyring
	settled  settled
	seq      uint64 // the last one given
	lastID   ID
	done     Stats    // the counts since New; its other fields stay zero
	journal  *journal // nil: nobody asks
	restored int      // messages that Restore brought, which may be more than Capacity

	// The books. Rebuild makes them anew.
	topics map[string]*topic
	timers timers // every delayed and leased message
	count  [states]int
	bytes  purse // of messages and of remembered keys
	leases purse
}

// New makes an empty queue.
func New(o Options) *Queue {
	o = o.withDefaults()
	source := rand.NewChaCha8(o.Seed)
	q := &Queue{
		o:      o,
		source: source,
		rand:   rand.New(source),
		table:  make(map[ID]*message),
		topics: make(map[string]*topic),
		bytes:  purse{of: o.Bytes},
		leases: purse{of: o.Inflight},
	}
	if o.Journal {
		q.journal = newJournal()
	}
	q.jitter = func(limit time.Duration) time.Duration { return time.Duration(q.rand.Int64N(int64(limit) + 1)) }
	return q
}

// Stats returns the counts and depths.
func (q *Queue) Stats() Stats {
	s := q.done
	s.Ready, s.Delayed, s.Leased, s.Dead = q.count[ready], q.count[delayed], q.count[leased], q.count[dead]
	s.Topics, s.Keys, s.Bytes = len(q.topics), len(q.keys.byName), q.bytes.held
	return s
}

// Ready returns how many messages of the topic are ready.
func (q *Queue) Ready(topic string) int {
	if t := q.topics[topic]; t != nil {
		return t.count[ready]
	}
	return 0
}

func (q *Queue) nextSeq() uint64 {
	q.seq++
	return q.seq
}

func (q *Queue) nonce() (n [16]byte) {
	binary.LittleEndian.PutUint64(n[:8], q.source.Uint64())
	binary.LittleEndian.PutUint64(n[8:], q.source.Uint64())
	return n
}
