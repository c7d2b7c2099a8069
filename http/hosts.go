package httpapi

import (
	"net"
	"net/netip"
	"strings"
)

// hostCheck refuses names that a web page may have bound to a loopback address
// (DNS rebinding, contract §6). It stands only before sockets bound to loopback.
type hostCheck struct {
	allowed map[string]bool // lower case, without port
}

func newHostCheck(allowed []string) hostCheck {
	c := hostCheck{allowed: map[string]bool{"localhost": true}}
	for _, name := range allowed {
		c.allowed[strings.ToLower(hostName(name))] = true
	}
	return c
}

// allows reports whether a Host header may reach a loopback socket. An empty
// one is HTTP/1.0, which no browser speaks.
func (c hostCheck) allows(host string) bool {
	if host == "" {
		return true
	}
	name := hostName(host)
	if ip, err := netip.ParseAddr(name); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	return c.allowed[strings.ToLower(name)]
}

// hostName takes the port and the brackets off.
func hostName(hostport string) string {
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
}
