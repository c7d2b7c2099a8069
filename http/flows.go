package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"micronode/http/admit"
)

// Fairness says how clients share the node when it is short (contract §6).
type Fairness struct {
	Weights        map[string]int // IP address or CIDR -> share of its flow; 1 where none fits, the longest prefix where several do
	TrustedProxies []string       // IP addresses and CIDRs whose X-Forwarded-For is believed
}

// v6Flow is how much of an IPv6 address names a client: a network is handed out whole.
const v6Flow = 64

// flows names the flow of a request: the peer's address, until a capability does.
type flows struct {
	weights []weighted // longest prefix first
	proxies []netip.Prefix
}

type weighted struct {
	of     netip.Prefix
	weight int
}

func newFlows(f Fairness) (*flows, error) {
	var all flows
	for text, weight := range f.Weights {
		of, err := ParseNetwork(text)
		if err != nil {
			return nil, err
		}
		all.weights = append(all.weights, weighted{of, weight})
	}
	slices.SortFunc(all.weights, func(a, b weighted) int { return b.of.Bits() - a.of.Bits() })
	for _, text := range f.TrustedProxies {
		of, err := ParseNetwork(text)
		if err != nil {
			return nil, err
		}
		all.proxies = append(all.proxies, of)
	}
	return &all, nil
}

// ParseNetwork reads an IP address or a CIDR.
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("httpapi: %q is neither an IP address nor a CIDR", text)
	}
	return p.Masked(), nil
}

// flow is the flow of an address.
func (f *flows) flow(a netip.Addr) admit.Flow {
	flow := admit.Flow{Key: a.String(), Weight: 1}
	if a.Is6() && !a.IsLoopback() {
		if net, err := a.WithZone("").Prefix(v6Flow); err == nil {
			flow.Key = net.String()
		}
	}
	for _, w := range f.weights {
		if w.of.Contains(a) {
			flow.Weight = w.weight
			break
		}
	}
	return flow
}

// flowMemo is a connection's flow, as long as the same table is in force.
type flowMemo struct {
	at atomic.Pointer[memo]
}

type memo struct {
	by    *flows
	flow  admit.Flow
	addr  netip.Addr // of the peer; zero where it has none
	proxy bool
}

// of is the flow of a peer.
func (m *flowMemo) of(f *flows, peer net.Addr) *memo {
	if known := m.at.Load(); known != nil && known.by == f {
		return known
	}
	a := addrOf(peer)
	fresh := &memo{by: f, flow: f.flow(a), proxy: f.trusts(a)}
	if _, ip := peer.(*net.TCPAddr); ip {
		fresh.addr = a
	}
	m.at.Store(fresh)
	return fresh
}

func addrOf(peer net.Addr) netip.Addr {
	if t, ok := peer.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.IPv6Unspecified()
}

func (f *flows) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(f.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// peer is the flow of a connection.
func (f *flows) peer(c *conn) admit.Flow { return c.flow.of(f, c.RemoteAddr()).flow }

// flowOf is the flow of a request: the peer of the socket, or behind a trusted
// proxy the last address in X-Forwarded-For that is none of ours.
func (f *flows) flowOf(c *conn, r *http.Request) admit.Flow {
	a, direct := f.client(c, r)
	if direct {
		return c.flow.of(f, c.RemoteAddr()).flow
	}
	return f.flow(a)
}

// client is the address that a request comes from, and whether it is the peer's.
func (f *flows) client(c *conn, r *http.Request) (a netip.Addr, direct bool) {
	m := c.flow.of(f, c.RemoteAddr())
	if !m.proxy {
		return m.addr, true
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if a = a.Unmap(); !f.trusts(a) {
			return a, false
		}
	}
	return m.addr, true
}
