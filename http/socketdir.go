package httpapi

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// SocketName is the file name of the operator socket.
const SocketName = "micronode.sock"

// maxSocketPath is what sun_path of a sockaddr_un holds before its zero byte (unix(7)).
const maxSocketPath = 107

// SocketPath is where the operator socket is by default (contract §15): in
// $RUNTIME_DIRECTORY (its first, as systemd lists several), in $XDG_RUNTIME_DIR,
// or in a private directory under tmpDir.
func SocketPath(getenv func(string) string, uid int, tmpDir string) string {
	if dir, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return filepath.Join(dir, SocketName)
	}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, SocketName)
	}
	return filepath.Join(tmpDir, "micronode-"+strconv.Itoa(uid), SocketName)
}

// secureDir makes sure that nobody else can reach, replace or squat the socket
// in dir: a real directory, ours, 0700. It is created where it is missing. One of
// the default places that is too open is closed; one that was asked for is not touched.
func secureDir(dir string, explicit bool) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: create it with `mkdir -p -m 700 %s`, or set uds.path", err, dir)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	switch {
	case !mode.IsDir():
		return fmt.Errorf("%s is not a directory (a link does not count): remove it, or set uds.path", dir)
	case !ok || int(owner.Uid) != os.Getuid():
		return fmt.Errorf("%s belongs to another user: set uds.path to a directory of your own", dir)
	case mode&os.ModeSticky != 0 || mode.Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others: set uds.path to a directory of its own, such as %s", dir, filepath.Join(dir, "micronode", SocketName))
	case mode.Perm()&0o077 == 0:
		return nil
	case explicit:
		return fmt.Errorf("%s can be read by others: close it with `chmod 700 %s`, or set uds.path to a directory of its own", dir, dir)
	default:
		return os.Chmod(dir, 0o700) // such as a RuntimeDirectory that systemd made 0755
	}
}
