package config

import "time"

// Config is the effective configuration of one node (contract §11). It is a
// plain value: copying it is cheap, and nothing in it is shared but the slices,
// which nobody writes to.
type Config struct {
	HTTPAddr       string        // host:port of the data and admin door; port 0 picks a free one
	MetricsAddr    string        // host:port of /metrics alone; empty = served by the HTTP door
	OAPAddr        string        // host:port of OAP/1; empty = not served
	Amnesia        bool          // RAM only; false keeps everything in Store.Dir
	AmnesiaStrict  bool          // do not start where the kernel cannot enforce it
	AllowedHosts   []string      // Host names accepted on a loopback bind besides the loopback names
	Peers          []string      // base URLs of nodes that damaged objects are fetched from
	PeersCA        string        // PEM file of authorities that vouch for the peers besides the system's
	TrustedProxies []string      // IP addresses and CIDRs whose X-Forwarded-For is believed
	DrainGrace     time.Duration // how long to keep listening after readyz turned 503
	DrainDeadline  time.Duration // hard end of a drain, counted from the end of DrainGrace

	Log        Log
	UDS        UDS
	Auth       Auth
	Keys       KeyFiles
	Policy     Policy
	TLS        TLS
	Store      Store
	Mailbox    Mailbox
	Limits     Limits
	Fairness   Fairness
	Supervisor Supervisor
	Chaos      Chaos
	Bus        Bus
}

// Log is the section [log].
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto (text on a terminal, JSON elsewhere), json or text
}

// UDS is the section [uds]: the operator socket (contract §1).
type UDS struct {
	Path      string // empty = micronode.sock in the runtime directory
	AllowUIDs []int  // user ids let in by SO_PEERCRED; empty = the node's own uid
}

// Auth is the section [auth].
type Auth struct {
	Mode string // cap: with a capability; dev: anonymous, loopback listeners only (contract §8)
}

// KeyFiles is the section [keys] (contract §8).
type KeyFiles struct {
	RootFile       string // root keys of capabilities; empty: one is minted at the start
	IdentityFile   string // age identities that the kept keys are sealed to
	PassphraseFile string // passphrase that they are sealed with instead
}

// Policy is the section [policy] (contract §8).
type Policy struct {
	File string // Cedar; empty: the built-in policy
}

// TLS is the section [tls] (contract §8); without cert everything is plain.
type TLS struct {
	Cert       string // PEM file of the chain
	Key        string // PEM file of the private key
	ClientCA   string // PEM file; clients may show a certificate of these authorities
	PQMode     string // off | hybrid | required
	MinVersion string // 1.3 | 1.2
}

// Store is the section [store] (contract §2, §13).
type Store struct {
	Dir           string        // where a node with amnesia=false keeps everything
	ScrubRate     Size          // bytes a second that scrub reads
	ScrubInterval time.Duration // from the end of one walk over everything to the next
	MaxBytes      Size          // bytes of objects held before a put is refused with 429
	MaxTTL        time.Duration // longest X-Ron-Ttl accepted
}

// Mailbox is the section [mailbox] (contract §3).
type Mailbox struct {
	Enabled            bool
	Shards             int           // topics are spread over this many queues by their hash
	ShardCapacity      int           // messages in a shard, in every state
	MaxBytes           Size          // of messages and dedup window, all shards together
	MaxInflight        int           // leases at a time, all shards together
	Visibility         time.Duration // lease of a receiver that names none
	MaxAttempts        int           // deliveries before a message is dead
	DedupWindow        time.Duration // how long an idempotency key is remembered
	RequireIdempotency bool          // a send without a key is refused
}

// Limits is the section [limits] (contract §6).
type Limits struct {
	RPS                int           // requests a second, whole node
	Inflight           int           // requests served at once
	MaxBodyBytes       Size          // largest body with a Content-Length
	MaxObjectBytes     Size          // largest streamed object
	DecompressRatio    int           // plain bytes of a compressed body to its compressed ones
	DecompressMaxBytes Size          // plain bytes of a compressed body
	MaxConns           int           // open connections
	HeaderBytes        Size          // request line and headers
	RequestTimeout     time.Duration // whole request, and each 64 KiB slice of a body
	HeaderTimeout      time.Duration // headers complete
	IdleTimeout        time.Duration // keep-alive connection without a request
}

// Fairness is the section [fairness] (contract §6): how clients share the node
// when tokens or slots are short.
type Fairness struct {
	Weights      Weights       // share of a client; 1 where none is named
	QueuePerFlow int           // requests of a client that may wait
	QueueTotal   int           // requests that may wait, of all clients
	QueueWait    time.Duration // how long a read may wait; a write half of it
	RPSPerFlow   int           // requests a second of one client; 0 = no quota
}

// Weights are shares by IP address or CIDR, ordered by name.
type Weights []Weight

// Weight is the share of one client or network.
type Weight struct {
	Of     string // IP address or CIDR
	Weight int    // 1 to 1000
}

// Supervisor is the section [supervisor] (contract §9).
type Supervisor struct {
	BackoffMin      time.Duration // base of the full-jitter backoff
	BackoffMax      time.Duration // its cap
	MaxRestarts     int           // more than this many in Window is a storm
	Window          time.Duration // over which restarts are counted
	QuarantineAfter int           // this many in Window is quarantine
	ForgiveAfter    time.Duration // healthy this long clears the count
	ProbeAfter      time.Duration // half-open probe of a quarantined actor
	Watchdog        time.Duration // an actor busy with one message longer than this has hung
}

// Chaos is the section [chaos].
type Chaos struct {
	Enabled bool // kill and hang on the operator socket
}

// Bus is the section [bus] (contract §10).
type Bus struct {
	Ring    int // events held for each subscriber before the oldest is dropped
	History int // events kept for tail --since
}

// Default is the configuration of a node that was told nothing: the Default
// column of the table.
func Default() Config {
	var c Config
	for _, k := range Keys() {
		if k.set != nil {
			k.set(&c, k.def)
		}
	}
	return c
}
