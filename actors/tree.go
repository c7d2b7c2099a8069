package actors

import (
	"slices"

	"micronode/actors/mailbox"
	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
	"micronode/store/mem"
)

// Names of the planes and of the actors.
const (
	planeObjects = "objects"

	actorConfig  = "config"
	actorStorage = "storage"
	actorPolicy  = "policy"
	actorKeys    = "keys"
	actorIngress = "ingress"
	actorHealth  = "health"
)

// children is the node's tree: started from top to bottom, stopped from bottom
// to top. A host's own children come last: they may use everything above.
func (n *Node) children() []kernel.Child {
	tree := []kernel.Child{
		{Name: actorConfig, Required: true, New: func() kernel.Actor { return &settings{n: n} }},
		{
			Name: actorPolicy, Required: true, Vital: true, Planes: n.dataPlanes(), Watchdog: min(policyWatchdog, n.cfg.Supervisor.Watchdog),
			New: func() kernel.Actor { return &judge{n: n} },
		},
		{Name: actorKeys, Required: true, New: func() kernel.Actor { return &locksmith{n: n} }},
		{Name: actorStorage, Required: true, New: func() kernel.Actor { return &storage{n: n} }, Planes: []string{planeObjects}},
	}
	if n.mail != nil {
		tree = append(tree, kernel.Child{Name: mailbox.ActorName, Required: true, Planes: []string{mailbox.ActorName}, New: func() kernel.Actor {
			return &lookout{n: n, make: n.mailboxChecks}
		}})
		tree = append(tree, n.mail.Children()...)
	}
	tree = append(tree,
		kernel.Child{Name: actorIngress, Required: true, New: func() kernel.Actor { return &ingress{door: n.door} }},
		kernel.Child{Name: actorHealth, Required: true, New: func() kernel.Actor { return &lookout{n: n, make: n.healthChecks} }},
	)
	if n.opt.NoDoor {
		tree = slices.DeleteFunc(tree, func(c kernel.Child) bool { return c.Name == actorIngress })
	}
	return append(tree, n.opt.Children...)
}

// Configuration becomes the options of the rooms here and nowhere else.

func policyOf(c config.Supervisor) kernel.Policy {
	return kernel.Policy{
		BackoffMin: c.BackoffMin, BackoffMax: c.BackoffMax,
		MaxRestarts: c.MaxRestarts, Window: c.Window, QuarantineAfter: c.QuarantineAfter,
		ForgiveAfter: c.ForgiveAfter, ProbeAfter: c.ProbeAfter, Watchdog: c.Watchdog,
	}
}

func (n *Node) tier() *mem.Store {
	return mem.New(mem.Options{MaxBytes: int64(n.cfg.Store.MaxBytes), Now: n.opt.Now})
}

func (n *Node) doorOptions() httpapi.Options {
	c := n.cfg
	return httpapi.Options{
		HTTPAddr: c.HTTPAddr, OAPAddr: c.OAPAddr, MetricsAddr: c.MetricsAddr, AllowedHosts: c.AllowedHosts,
		Socket: httpapi.SocketOptions{
			Path: n.opt.SocketPath, Explicit: c.UDS.Path != "", AllowUIDs: c.UDS.AllowUIDs,
		},
		Limits: limitsOf(c), Fairness: fairnessOf(c), Ports: n.ports(), TLS: n.files.Load().tls,
		Auth: httpapi.Auth{Ring: n.ring, Policy: n.verdicts, Dev: c.Auth.Mode == authDev},
	}
}

func limitsOf(c config.Config) httpapi.Limits {
	return httpapi.Limits{
		RPS: c.Limits.RPS, Inflight: c.Limits.Inflight, FlowRPS: c.Fairness.RPSPerFlow,
		QueuePerFlow: c.Fairness.QueuePerFlow, QueueTotal: c.Fairness.QueueTotal, QueueWait: c.Fairness.QueueWait,
		MaxBodyBytes: int64(c.Limits.MaxBodyBytes), MaxObjectBytes: int64(c.Limits.MaxObjectBytes),
		InflateRatio: c.Limits.DecompressRatio, InflateBytes: int64(c.Limits.DecompressMaxBytes),
		MaxConns: c.Limits.MaxConns, MaxHeaderBytes: int(c.Limits.HeaderBytes),
		RequestTimeout: c.Limits.RequestTimeout, HeaderTimeout: c.Limits.HeaderTimeout,
		IdleTimeout: c.Limits.IdleTimeout, MaxTTL: c.Store.MaxTTL,
	}
}

func fairnessOf(c config.Config) httpapi.Fairness {
	return httpapi.Fairness{Weights: c.Fairness.Weights.Map(), TrustedProxies: c.TrustedProxies}
}
