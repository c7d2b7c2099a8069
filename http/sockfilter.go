package httpapi

import (
	"net"

	"golang.org/x/sys/unix"
)

// Where a classic BPF program on a TCP socket finds the SYN flag: the packet
// begins with the TCP header (RFC 9293 §3.1, tcp(7), socket(7)).
const (
	tcpFlagsOffset = 13
	tcpFlagSYN     = 0x02
	bpfAcceptAll   = 0xffffffff
)

// refuseHandshakes makes the kernel ignore new SYNs to a listening TCP socket,
// while handshakes under way may finish: the client of an ignored SYN tries
// again and finds the socket closed, instead of being let in and then reset.
// Multipath TCP sockets take no filter (bindTCP makes none). Where the kernel has
// none at all, a handshake that ends between the last accept and the close is
// reset; no byte of its request has been read then.
func refuseHandshakes(l net.Listener) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { attachNoSYN(int(fd)) }) // best effort, as said above
}

func attachNoSYN(fd int) {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: tcpFlagsOffset},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: tcpFlagSYN, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: bpfAcceptAll},
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
}
