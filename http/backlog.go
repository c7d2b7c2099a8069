package httpapi

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// acceptWaiting takes a connection that waits in the backlog, without regard to
// the listener's deadline: a busy machine may have let it pass. It returns nil
// when none waits.
func acceptWaiting(l net.Listener) net.Conn {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	fd := -1
	_ = raw.Control(func(listening uintptr) {
		if got, _, err := unix.Accept4(int(listening), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
			fd = got
		}
	})
	if fd < 0 {
		return nil
	}
	f := os.NewFile(uintptr(fd), "accepted")
	defer f.Close() // FileConn has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil
	}
	return c
}
