package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probeWait is how long a socket file's owner has to take a connection.
const probeWait = 250 * time.Millisecond

// errLive says that another process answers on a socket.
var errLive = errors.New("another node answers on it")

// fileID tells a file from another of the same name.
type fileID struct{ dev, ino uint64 }

// socketFile is a bound operator socket and the file that is its name.
type socketFile struct {
	net.Listener
	path string
	id   fileID
}

// bindSocket binds the operator socket. Beside a live node, a default path gives
// way to one that bears port; a path that was asked for does not.
func bindSocket(ctx context.Context, o SocketOptions, port string) (*socketFile, error) {
	s, err := bindSocketAt(ctx, o.Path, o.Explicit)
	if errors.Is(err, errLive) && !o.Explicit {
		beside := strings.TrimSuffix(o.Path, ".sock") + "-" + port + ".sock"
		s, err = bindSocketAt(ctx, beside, o.Explicit)
	}
	if err != nil {
		return nil, fmt.Errorf("%w on operator socket: %w", ErrBind, err)
	}
	return s, nil
}

func bindSocketAt(ctx context.Context, path string, explicit bool) (*socketFile, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s has %d bytes, a socket's path may have %d: set uds.path to a shorter one", path, len(path), maxSocketPath)
	}
	if err := secureDir(filepath.Dir(path), explicit); err != nil {
		return nil, err
	}
	if err := clearStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: set uds.path to a path that can be written", err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // only while it is still ours
	}
	s := &socketFile{Listener: l, path: path}
	if err := os.Chmod(path, 0o600); err == nil {
		s.id, err = idOf(path)
		if err == nil {
			return s, nil
		}
	}
	_ = l.Close()
	return nil, fmt.Errorf("%s was replaced while it was bound: look who else uses its directory", path)
}

// clearStale removes a socket file that nobody answers on, and nothing else.
func clearStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: it is left alone; remove it, or set uds.path", path)
	}
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = c.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("%s: %w: stop it with `ronctl --socket %s stop`, or set uds.path", path, errLive, path)
}

// remove takes the socket's name away while it is still this socket's.
func (s *socketFile) remove() error {
	id, err := idOf(s.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && id != s.id {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(s.path)
}

func idOf(path string) (fileID, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return fileID{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, errors.ErrUnsupported
	}
	return fileID{uint64(st.Dev), st.Ino}, nil
}

// peerCheck returns what marks connections of users that are not served.
func peerCheck(allowed []int) func(*conn) {
	if len(allowed) == 0 {
		allowed = []int{os.Getuid()}
	}
	return func(c *conn) {
		c.uid = peerUID(c.Conn)
		c.foreign = !slices.Contains(allowed, c.uid)
	}
}

// peerUID asks the kernel who connected (SO_PEERCRED, unix(7)); -1 when it does not say.
func peerUID(nc net.Conn) int {
	sys, ok := nc.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return -1
	}
	uid := -1
	_ = raw.Control(func(fd uintptr) { // an error leaves -1, which is never served
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}
