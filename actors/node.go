package actors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"micronode/actors/mailbox"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/admit"
	"micronode/http/caps"
	"micronode/http/policy"
	"micronode/kernel"
	"micronode/store"
)

// Service is the name of the node in topics, metrics and logs.
const Service = "micronode"

// Options are what a host gives a node beside its configuration.
type Options struct {
	Logger  *zap.Logger // nil: no log
	Metrics *Metrics    // nil: a registry of its own
	Now     func() time.Time
	// Mono is the clock that leases and delays of messages hang on; it never goes
	// back. nil: the machine's monotonic clock.
	Mono func() time.Duration
	// Objects replaces the tier that the configuration asks for, e.g. by one
	// that injects faults; nil: the configured tier.
	Objects store.Store
	// Disk is the durable tier of a node with amnesia=false. The node closes it,
	// also when Start fails.
	Disk Disk
	// Children of the host, started after the node's own and stopped before
	// them.
	Children []kernel.Child
	// NoDoor: no listener at all, the node is used in-process.
	NoDoor bool
	// SocketPath is where the operator socket goes; "" with no uds.path
	// configured: no operator socket.
	SocketPath string
	Build      Build
	// Hold keeps the node from being ready, as a cause of this name, until [Node.Release].
	Hold string
	// Reload reads the configuration again, from where the first one came. nil:
	// only [Node.Apply] changes it.
	Reload func() (config.Loaded, error)
}

// Build says which build of the program this is.
type Build struct {
	Version string
	GitSHA  string
	Time    string // RFC 3339, or empty
}

// Node is one running micronode.
type Node struct {
	cfg     config.Config // of the start; what changes while the node runs is in live
	live    atomic.Pointer[inForce]
	opt     Options
	log     *zap.Logger
	started time.Time

	bus     *kernel.Bus
	tree    *kernel.Tree
	door    *httpapi.Door // nil with NoDoor
	objects store.Store
	disk    Disk // nil: RAM only
	care    diskCare
	scrub   scrub
	healer  *physician // nil without peers
	gate    *Gate
	mail    *mailbox.Mailbox // nil with mailbox.enabled=false
	metrics *Metrics

	ring      *caps.Ring
	verdicts  *policy.Gate
	files     atomic.Pointer[files] // that the configuration names, as they were read last
	denials   denials
	backingUp sync.Mutex
	keeping   sync.Mutex  // the ring is written once at a time
	enforced  atomic.Bool // amnesia, by the kernel

	shown    atomic.Pointer[json.RawMessage] // the configuration as the operator sees it
	corrupt  atomic.Int64                    // reads that found damage
	seen     seen
	observed []func() // stop the observers, in order
	asked    chan StopRequest

	reloading sync.Mutex // one reload at a time

	stopOnce sync.Once
	stopErr  error
}

// StopRequest is an operator's order to stop; the host carries it out with
// [Node.Stop].
type StopRequest struct {
	Grace  bool   // keep listening for drain_grace first
	Reason string // the operator's words
}

// Start starts a node with a loaded configuration. It returns when the
// listeners are bound and the tree is on its way up; [Node.AwaitReady]
// tells when it serves. Errors: httpapi.ErrBind; a configuration that does not fit. The
// caller must call Stop.
func Start(loaded config.Loaded, o Options) (*Node, error) {
	n := newNode(loaded, o)
	if err := n.wire(); err != nil {
		if n.ring != nil {
			n.ring.Close()
		}
		n.healer.close()
		return nil, errors.Join(err, n.closeDisk())
	}
	if n.door != nil {
		if err := n.door.Bind(context.Background()); err != nil {
			n.abandonStart()
			return nil, err
		}
	}
	n.observe()
	if o.Hold != "" {
		n.tree.Ledger().Raise(kernel.Cause{Name: o.Hold, Effect: kernel.NotReady, Detail: "the start is not over"})
	}
	if err := n.tree.Start(); err != nil {
		n.abandonStart()
		return nil, err
	}
	if n.door != nil { // healthz answers and readyz says why, before any actor runs
		if err := n.door.Open(); err != nil {
			return nil, errors.Join(err, n.Stop(context.Background(), false))
		}
	}
	n.bus.Publish(kernel.Event{Topic: topic("config"), Kind: kernel.KindConfigUpdated, Data: configData{Version: n.config().version, SHA: n.config().SHA}})
	return n, nil
}

type configData struct {
	Version uint64          `json:"version"` // of the configurations in force since the start
	SHA     string          `json:"sha"`
	Changes []config.Change `json:"changes,omitempty"`
}

func newNode(loaded config.Loaded, o Options) *Node {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	loaded.SHA = digest(loaded)
	c := loaded.Config
	n := &Node{
		cfg: c, opt: o, log: o.Logger, started: o.Now(),
		bus:     kernel.NewBus(kernel.BusOptions{Ring: c.Bus.Ring, History: c.Bus.History, Now: o.Now}),
		objects: o.Objects, disk: o.Disk, metrics: o.Metrics,
		asked: make(chan StopRequest, 1), scrub: scrub{now: make(chan struct{}, 1)},
	}
	n.live.Store(&inForce{loaded, 1})
	return n
}

// wire makes the parts and introduces them to each other; nothing runs yet.
func (n *Node) wire() (err error) {
	switch {
	case n.disk == nil && !n.cfg.Amnesia && n.objects == nil:
		return ErrNoDisk
	case n.objects != nil:
	case n.disk != nil:
		n.objects = n.disk
	default:
		n.objects = n.tier()
	}
	if n.metrics == nil {
		n.metrics = NewMetrics(nil)
	}
	if err := n.authorities(); err != nil {
		return err
	}
	if n.healer, err = n.newPhysician(n.cfg); err != nil {
		return err
	}
	n.gate = &Gate{
		frees: n.frees,
		now:   n.opt.Now,
		plane: func() kernel.Plane { return n.tree.Ledger().Plane(planeObjects) },
		watch: gateWatch{put: n.metrics.put, get: n.metrics.get, corrupt: n.corruption, mend: n.mend},
	}
	if n.mail, err = n.mailroom(); err != nil {
		return err
	}
	if !n.opt.NoDoor {
		if n.door, err = httpapi.NewDoor(n.doorOptions()); err != nil {
			return err
		}
	}
	n.tree, err = kernel.New(kernel.Options{
		Name: Service, Children: n.children(), Policy: policyOf(n.cfg.Supervisor),
		Bus: n.bus, Now: n.opt.Now, Log: zapslog.NewHandler(n.log.Core()),
	})
	if err != nil {
		return err
	}
	if n.mail != nil {
		n.mail.Attach(n.tree.Ref)
	}
	if err := n.restoreMail(context.Background()); err != nil {
		return err
	}
	if n.disk != nil {
		n.resumeScrub()
		n.disk.OnRot(n.rotten)
	}
	return n.metrics.register(n)
}

// digest names a configuration that was not loaded from text.
func digest(l config.Loaded) string {
	if l.SHA != "" {
		return l.SHA
	}
	b, err := json.Marshal(l.Config)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func topic(name string) string { return Service + "." + name }

// Objects returns the object store: reads stay open and writes fail closed, as
// at the door.
func (n *Node) Objects() *Gate { return n.gate }

// Mailbox returns the queue for use in-process; nil with mailbox.enabled=false.
func (n *Node) Mailbox() *mailbox.Mailbox { return n.mail }

// MarkEnforced says that the host has had the kernel enforce amnesia, for /version.
func (n *Node) MarkEnforced() { n.enforced.Store(true) }

// Release ends what [Options.Hold] began.
func (n *Node) Release() { n.tree.Ledger().Clear(n.opt.Hold) }

// Enforced reports whether the kernel enforces amnesia.
func (n *Node) Enforced() bool { return n.enforced.Load() }

// Bus returns the node's event bus.
func (n *Node) Bus() *kernel.Bus { return n.bus }

// Tree returns the node's supervised tree, the host's children included.
func (n *Node) Tree() *kernel.Tree { return n.tree }

// Readiness returns the truth at this moment; it never waits.
func (n *Node) Readiness() *kernel.Readiness { return n.tree.Ledger().Readiness() }

// Listeners returns what is bound; port 0 is resolved.
func (n *Node) Listeners() []httpapi.Listener {
	if n.door == nil {
		return nil
	}
	return n.door.Listeners()
}

// StopRequested delivers an operator's order to drain or stop.
func (n *Node) StopRequested() <-chan StopRequest { return n.asked }

// AwaitReady returns when the node is ready, degraded or not, or with ctx's
// error and what is missing.
func (n *Node) AwaitReady(ctx context.Context) error {
	sub := n.bus.Subscribe(kernel.Query{Kind: kernel.KindReadyChanged})
	defer sub.Close()
	for {
		r := n.Readiness()
		if r.Ready {
			return nil
		}
		if _, _, err := sub.Next(ctx); err != nil {
			return fmt.Errorf("actors: not ready, missing %v: %w", r.Missing, err)
		}
	}
}

// admission is how requests stand in line; zero without a door.
func (n *Node) admission() admit.Stats {
	if n.door == nil {
		return admit.Stats{}
	}
	return n.door.Admission()
}

// corruption is what a read that found damage leads to, on every door.
func (n *Node) corruption(ctx context.Context, a store.Address, err error) {
	n.found(ctx, a, "read", err.Error())
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
