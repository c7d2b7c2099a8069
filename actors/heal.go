package actors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"micronode/config"
	httpapi "micronode/http"
	"micronode/http/caps"
	"micronode/kernel"
	"micronode/store"
)

// Bounds of healing.
const (
	healers    = 4                // objects fetched at a time
	healWithin = 20 * time.Second // one object, all peers
	peerTTL    = time.Minute      // of the capability that a peer is shown
)

// ErrNoPeer: no peer has given the right bytes.
var ErrNoPeer = errors.New("actors: no peer has it")

// physician heals damaged objects with the bytes of peers. What a peer sends is held
// against the address before it is stored, so a peer can fail, but not lie.
type physician struct {
	n     *Node
	peers []*httpapi.Client
	names []string
	slots chan struct{}

	mu   sync.Mutex // guards all that follows
	busy map[store.Address]*healing
}

// healing is one object that is being healed: whoever asks for it meanwhile waits.
type healing struct {
	done chan struct{}
	err  error
}

// newPhysician makes the clients of all peers; nil without any.
func (n *Node) newPhysician(c config.Config) (*physician, error) {
	if len(c.Peers) == 0 {
		return nil, nil
	}
	p := &physician{n: n, slots: make(chan struct{}, healers), busy: map[store.Address]*healing{}, names: c.Peers}
	var trust *tls.Config
	if c.PeersCA != "" {
		pem, err := readSmall(c.PeersCA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("%w: peers_ca: %w", ErrFile, err)
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: peers_ca: %s holds no certificate", ErrFile, c.PeersCA)
		}
		trust = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	}
	for _, addr := range c.Peers {
		client, err := httpapi.NewClient(httpapi.ClientOptions{Addr: addr, TLS: trust, Stored: true, Token: p.token, AnswerTimeout: 5 * time.Second})
		if err != nil {
			p.close()
			return nil, fmt.Errorf("%w: peers: %w", ErrFile, err)
		}
		p.peers = append(p.peers, client)
	}
	return p, nil
}

// token is a capability of this node's own key: peers share it (keys.root_file).
func (p *physician) token() (string, error) {
	if p.n.cfg.Auth.Mode == authDev {
		return "", nil
	}
	ops, err := caps.ParseOps("get")
	if err != nil {
		return "", err
	}
	m, err := p.n.ring.Mint(caps.Spec{Ops: ops, Paths: []string{"/o/"}, TTL: peerTTL})
	return m.Token, err
}

func (p *physician) close() {
	if p == nil {
		return
	}
	for _, c := range p.peers {
		c.Close()
	}
}

// heal fetches an object from the peers, one after the other, and puts it in the place
// of the damaged one. Errors: ErrNoPeer, store.ErrNotFound when it is gone meanwhile,
// ctx's, those of a put.
func (p *physician) heal(ctx context.Context, a store.Address) error {
	if p == nil {
		return fmt.Errorf("%w: peers is empty", ErrNoPeer)
	}
	p.mu.Lock()
	h := p.busy[a]
	if h != nil {
		p.mu.Unlock()
		select {
		case <-h.done:
			if errors.Is(h.err, context.Canceled) && ctx.Err() == nil { // whoever began has left
				return p.heal(ctx, a)
			}
			return h.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h = &healing{done: make(chan struct{})}
	p.busy[a] = h
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	h.err = p.fetch(ctx, a)
	p.mu.Lock()
	delete(p.busy, a)
	p.mu.Unlock()
	close(h.done)
	return h.err
}

func (p *physician) fetch(ctx context.Context, a store.Address) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	failed := ErrNoPeer
	for i, c := range p.peers {
		err := p.copy(ctx, c, a)
		if err == nil {
			p.n.healed(ctx, a, p.names[i])
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, store.ErrNotReady) && p.n.gate.plane() != kernel.Open {
			return err
		}
		failed = fmt.Errorf("%w; %s: %w", failed, p.names[i], err)
	}
	return failed
}

// copy streams an object from a peer into the store.
func (p *physician) copy(ctx context.Context, c *httpapi.Client, a store.Address) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	fetched := make(chan error, 1)
	go func() { // ends with ctx, or when the put has ended
		_, err := c.Get(ctx, a, w, nil)
		_ = w.CloseWithError(err) // nil is the end of the body
		fetched <- err
	}()
	_, _, err := p.n.objects.Put(ctx, r, store.PutOptions{
		Size: -1, MaxSize: int64(p.n.config().Config.Limits.MaxObjectBytes), Expect: &a, Heal: true,
	})
	_ = r.CloseWithError(err)
	cancel()
	<-fetched
	return err
}

// healed tells of an object that is whole again.
func (n *Node) healed(ctx context.Context, a store.Address, peer string) {
	n.metrics.healed.Inc()
	n.bus.Publish(kernel.Event{
		Topic: topic("store"), Kind: "ObjectHealed", Service: actorStorage, CorrID: httpapi.CorrID(ctx),
		Data: struct {
			Address string `json:"address"`
			Peer    string `json:"peer"`
		}{a.String(), peer},
	})
}

// mend heals what a read has met, if it may.
func (n *Node) mend(ctx context.Context, a store.Address) bool {
	if n.healer == nil || httpapi.StoredOnly(ctx) {
		return false
	}
	return n.healer.heal(ctx, a) == nil
}
