package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"micronode/config"
	httpapi "micronode/http"
	"micronode/kernel"
)

// What can be wrong with a reload; nothing has changed then.
var (
	ErrNoSource     = errors.New("actors: this node was given its configuration as a value and has nowhere to reload it from")
	ErrNeedsRestart = errors.New("actors: needs a restart")
)

// Outcomes of config_reloads_total.
const (
	reloadApplied   = "applied"
	reloadUnchanged = "unchanged"
	reloadRefused   = "refused"
)

// inForce is the configuration that works now, and how many there were.
type inForce struct {
	config.Loaded
	version uint64
}

// config is the configuration in force.
func (n *Node) config() *inForce { return n.live.Load() }

// Reloaded is the outcome of a reload.
type Reloaded struct {
	Version uint64
	Changes []config.Change // none: everything was as it is
}

// Reload reads the configuration again, where Options.Reload says, and applies
// it: see [Node.Apply]. Errors: [ErrNoSource], config.Faults, and those of Apply.
func (n *Node) Reload(ctx context.Context) (Reloaded, error) {
	if n.opt.Reload == nil {
		return Reloaded{}, ErrNoSource
	}
	next, err := n.opt.Reload()
	if err != nil {
		n.metrics.reloads.WithLabelValues(reloadRefused).Inc()
		return Reloaded{}, err
	}
	return n.Apply(ctx, next)
}

// Apply puts another configuration into force, all of it or nothing: where a key
// differs that does not change while the node runs, the error wraps
// [ErrNeedsRestart] and names it. A change is told by ConfigUpdated.
func (n *Node) Apply(_ context.Context, next config.Loaded) (Reloaded, error) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	now := n.config()
	done, err := n.apply(now, next)
	switch {
	case err != nil:
		n.metrics.reloads.WithLabelValues(reloadRefused).Inc()
		return Reloaded{}, err
	case len(done.Changes) == 0:
		n.metrics.reloads.WithLabelValues(reloadUnchanged).Inc()
		return done, nil
	}
	n.metrics.reloads.WithLabelValues(reloadApplied).Inc()
	n.bus.Publish(kernel.Event{Topic: topic("config"), Kind: kernel.KindConfigUpdated, Data: configData{
		Version: done.Version, SHA: n.config().SHA, Changes: done.Changes,
	}})
	return done, nil
}

func (n *Node) apply(now *inForce, next config.Loaded) (Reloaded, error) {
	read, err := readFiles(next.Config)
	if err != nil {
		return Reloaded{}, err
	}
	changes := append(config.Diff(now.Config, next.Config), n.files.Load().diff(read)...)
	if len(changes) == 0 {
		return Reloaded{Version: now.version}, nil
	}
	var fixed []string
	for _, c := range changes {
		if !c.Live {
			fixed = append(fixed, c.Key)
		}
	}
	if len(fixed) > 0 {
		return Reloaded{}, fmt.Errorf("%w: %s; nothing was changed", ErrNeedsRestart, strings.Join(fixed, ", "))
	}
	next.SHA = digest(next)
	shown, err := render(next)
	if err != nil {
		return Reloaded{}, err
	}
	if n.door != nil {
		if err := n.door.Configure(limitsOf(next.Config), fairnessOf(next.Config)); err != nil {
			return Reloaded{}, err
		}
		if now.Config.TLS.Cert != "" || next.Config.TLS.Cert != "" {
			if err := n.door.UseTLS(read.tls); err != nil {
				return Reloaded{}, err
			}
		}
	}
	n.files.Store(read)
	n.verdicts.Replace(read.policy)
	n.live.Store(&inForce{next, now.version + 1})
	n.shown.Store(&shown)
	return Reloaded{Version: now.version + 1, Changes: changes}, nil
}

// orderReload is the operator's way to Reload.
func (n *Node) orderReload(ctx context.Context, _ httpapi.Order) (httpapi.Done, error) {
	r, err := n.Reload(ctx)
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		return httpapi.Done{}, httpapi.Refuse(httpapi.ErrBadRequest, "The configuration has faults and the old one stays in force: "+faults.Error())
	case errors.Is(err, ErrFile):
		return httpapi.Done{}, httpapi.Refuse(httpapi.ErrBadRequest, "A file has a fault and the old one stays in force: "+strings.TrimPrefix(err.Error(), ErrFile.Error()+": "))
	case errors.Is(err, ErrNeedsRestart):
		return httpapi.Done{}, httpapi.Refuse(httpapi.ErrConflict, "These keys do not change while the node runs, and nothing was changed: "+
			strings.TrimSuffix(strings.TrimPrefix(err.Error(), ErrNeedsRestart.Error()+": "), "; nothing was changed")+". Set them back, or restart the node.")
	case err != nil:
		return httpapi.Done{}, err
	}
	done := httpapi.Done{OK: true, Version: r.Version, Detail: "nothing differs from what is in force"}
	if len(r.Changes) > 0 {
		done.Detail = "in force:"
		for _, c := range r.Changes {
			done.Changed = append(done.Changed, c.Key)
			done.Detail += " " + c.Key
		}
	}
	return done, nil
}
