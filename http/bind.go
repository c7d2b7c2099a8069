package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// ErrBind says that a listener could not be had. The error names the address,
// the likely reason and the next step; the process ends with 98 (contract §9).
var ErrBind = errors.New("cannot listen")

// bindTCP listens on host:port. Multipath TCP is off: its sockets take no filter,
// and a drain needs one (refuseHandshakes).
func bindTCP(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w on %s: %w: %s", ErrBind, addr, err, bindAdvice(addr, err))
	}
	return l, nil
}

func bindAdvice(addr string, err error) string {
	_, port, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has this port: find it with `ss -ltnp 'sport = :" + port + "'`, or choose another address"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port, or grant the capability"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have the address: list what it has with `ip addr`"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "no file descriptor is left: raise `ulimit -n`"
	default:
		return "write the address as host:port, such as 127.0.0.1:8080"
	}
}

// isLoopback judges by the socket, never by a name (contract §4).
func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}
