package httpapi_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	httpapi "micronode/http"
	"micronode/store/mem"
)

func TestSocketPath(t *testing.T) {
	for _, tt := range []struct {
		runtime, xdg, want string
	}{
		{"/run/micronode", "/run/user/7", "/run/micronode/micronode.sock"},
		{"/run/a:/run/b", "", "/run/a/micronode.sock"},
		{"", "/run/user/7", "/run/user/7/micronode.sock"},
		{"relative", "relative", "/t/micronode-7/micronode.sock"},
		{"", "", "/t/micronode-7/micronode.sock"},
	} {
		env := map[string]string{"RUNTIME_DIRECTORY": tt.runtime, "XDG_RUNTIME_DIR": tt.xdg}
		if got := httpapi.SocketPath(func(k string) string { return env[k] }, 7, "/t"); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func socketDoor(t *testing.T, o httpapi.SocketOptions) (*httpapi.Door, error) {
	t.Helper()
	door, err := httpapi.NewDoor(httpapi.Options{Auth: httpapi.Auth{Dev: true}, HTTPAddr: "127.0.0.1:0", Socket: o, Ports: httpapi.Ports{
		Objects: mem.New(mem.Options{Now: time.Now}), Ready: ready, Now: time.Now,
		Status: func() httpapi.Status { return httpapi.Status{} }, Version: func() httpapi.Version { return httpapi.Version{} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = door.Close(context.Background()) })
	if err := door.Bind(t.Context()); err != nil {
		return door, err
	}
	return door, door.Open()
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestSocketModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, httpapi.SocketName)
	door, err := socketDoor(t, httpapi.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if mode(t, dir) != 0o700 || mode(t, path) != 0o600 {
		t.Errorf("directory %o, socket %o", mode(t, dir), mode(t, path))
	}
	if _, err := door.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// What stands in the socket's way and is not ours to remove is left alone.
func TestSocketHostile(t *testing.T) {
	type place struct {
		path     string
		explicit bool
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		make func(dir string) place // in a private directory
		want string                 // part of the error; empty: it works
	}{
		{"a file", func(dir string) place {
			p := filepath.Join(dir, "s")
			must(os.WriteFile(p, []byte("precious"), 0o600))
			return place{p, false}
		}, "is no socket"},
		{"a link", func(dir string) place {
			p := filepath.Join(dir, "s")
			must(os.Symlink("/etc/passwd", p))
			return place{p, false}
		}, "is no socket"},
		{"a directory", func(dir string) place {
			p := filepath.Join(dir, "s")
			must(os.Mkdir(p, 0o700))
			return place{p, false}
		}, "is no socket"},
		{"a linked directory", func(dir string) place {
			must(os.Mkdir(filepath.Join(dir, "real"), 0o700))
			must(os.Symlink("real", filepath.Join(dir, "run")))
			return place{filepath.Join(dir, "run", "s"), false}
		}, "not a directory"},
		{"a file for a directory", func(dir string) place {
			must(os.WriteFile(filepath.Join(dir, "run"), nil, 0o600))
			return place{filepath.Join(dir, "run", "s"), false}
		}, "not a directory"},
		{"no directory to make it in", func(dir string) place { return place{filepath.Join(dir, "a", "b", "s"), false} }, "mkdir -p"},
		{"writable by all", func(dir string) place {
			must(os.Mkdir(filepath.Join(dir, "run"), 0o700))
			must(os.Chmod(filepath.Join(dir, "run"), 0o777))
			return place{filepath.Join(dir, "run", "s"), false}
		}, "written by others"},
		{"sticky", func(dir string) place {
			must(os.Mkdir(filepath.Join(dir, "run"), 0o700))
			must(os.Chmod(filepath.Join(dir, "run"), 0o700|fs.ModeSticky))
			return place{filepath.Join(dir, "run", "s"), false}
		}, "written by others"},
		{"open, by default", func(dir string) place {
			must(os.Mkdir(filepath.Join(dir, "run"), 0o755))
			return place{filepath.Join(dir, "run", "s"), false}
		}, ""},
		{"open, on purpose", func(dir string) place {
			must(os.Mkdir(filepath.Join(dir, "run"), 0o755))
			return place{filepath.Join(dir, "run", "s"), true}
		}, "chmod 700"},
		{"too long", func(dir string) place { return place{filepath.Join(dir, strings.Repeat("x", 108)), false} }, "shorter"},
		{"stale", func(dir string) place {
			p := filepath.Join(dir, "s")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p, Net: "unix"})
			must(err)
			l.SetUnlinkOnClose(false)
			must(l.Close())
			return place{p, true}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			must(os.Chmod(dir, 0o700))
			p := tt.make(dir)
			before, _ := os.Lstat(p.path)
			_, err := socketDoor(t, httpapi.SocketOptions{Path: p.path, Explicit: p.explicit})
			if tt.want == "" {
				if err != nil || mode(t, filepath.Dir(p.path)) != 0o700 {
					t.Errorf("%v", err)
				}
				return
			}
			if !errors.Is(err, httpapi.ErrBind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if after, _ := os.Lstat(p.path); before != nil && (after == nil || after.Mode() != before.Mode()) {
				t.Errorf("%v became %v", before.Mode(), after)
			}
		})
	}
}

// Beside a live node, a default path gives way and a named one is refused.
func TestSocketLive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, httpapi.SocketName)
	first, err := socketDoor(t, httpapi.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := socketDoor(t, httpapi.SocketOptions{Path: path, Explicit: true}); !errors.Is(err, httpapi.ErrBind) || !strings.Contains(err.Error(), "another node answers") {
		t.Errorf("%v", err)
	}
	second, err := socketDoor(t, httpapi.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var data, operator string
	for _, l := range second.Listeners() {
		switch l.Plane {
		case "data":
			_, data, _ = net.SplitHostPort(l.Address)
		case "operator":
			operator = l.Address
		}
	}
	if want := filepath.Join(dir, "micronode-"+data+".sock"); operator != want {
		t.Errorf("%s, want %s", operator, want)
	}
	for _, d := range []*httpapi.Door{first, second} {
		for _, l := range d.Listeners() {
			if l.Plane != "operator" {
				continue
			}
			c := unchecked("unix", l.Address)
			if a := send(t, c, "GET", "http://micronode/healthz", nil); a.status != 200 {
				t.Errorf("%s: %d", l.Address, a.status)
			}
			c.CloseIdleConnections()
		}
	}
}

// A node too busy to answer is not taken for dead.
func TestSocketBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for { // until its backlog is full
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer c.Close()
	}
	if _, err := socketDoor(t, httpapi.SocketOptions{Path: path, Explicit: true}); !errors.Is(err, httpapi.ErrBind) || !strings.Contains(err.Error(), "another node answers") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

// A socket whose name somebody else has taken over is not removed.
func TestSocketTakenOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	path := filepath.Join(dir, "s")
	door, err := socketDoor(t, httpapi.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := socketDoor(t, httpapi.SocketOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := door.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other node's socket is gone: %v", err)
	}
	if _, err := other.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestPeerRefused(t *testing.T) {
	c := &commander{}
	r := start(t, func(o *httpapi.Options) {
		o.Socket.AllowUIDs = []int{os.Getuid() + 1}
		o.Ports.Operator = c
	})
	r.op = unchecked("unix", r.sock) // a stranger hears 403 on every path, described or not
	for _, path := range []string{"/healthz", "/api/v1/status", "/nowhere"} {
		if a := r.order("GET", path, nil); a.status != 403 || !strings.Contains(a.problem(t).Detail, "uds.allow_uids") {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := r.order("POST", "/api/v1/shutdown", nil); a.status != 403 || len(c.told) != 0 {
		t.Errorf("%d %v", a.status, c.told)
	}
}
