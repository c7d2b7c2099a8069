package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	httpapi "micronode/http"
)

const (
	defaultAddr  = "127.0.0.1:8080"
	probeTimeout = time.Second
)

// command makes a cobra command of a function that talks to the node. Errors
// of run are told apart from mistakes on the command line.
func (a *app) command(c cobra.Command, run func(ctx context.Context, args []string) error) *cobra.Command {
	c.DisableFlagsInUseLine = true
	c.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd.Context(), args)
		if err == nil {
			err = a.out.failed()
		}
		if err != nil {
			return &runError{err}
		}
		return nil
	}
	return &c
}

// takes checks the number of arguments, described as in the usage line; most
// below 0 is no bound.
func takes(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case most == 0 && n > 0:
			return fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
		case n < least || most >= 0 && n > most:
			return fmt.Errorf("%s takes %s, got %s", cmd.CommandPath(), what, plural(n, "argument"))
		}
		return nil
	}
}

// within bounds a short command as a whole.
func (a *app) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.timeout)
}

// connect finds the node. Where it is told (--socket, --addr, RON_ADDR) it goes
// there and nowhere else; else it takes the operator socket of this user if a
// node answers on it, and the default address if not; RON_CAP goes only to an
// address that was named. The caller closes the client.
func (a *app) connect(ctx context.Context, retry httpapi.Retry) (*httpapi.Client, error) {
	if a.socket != "" && a.addr != "" {
		return nil, usagef("leave one of the two out").because("--socket and --addr name two nodes")
	}
	trust, err := a.trust()
	if err != nil {
		return nil, err
	}
	if a.oap != "" {
		if a.socket != "" || a.addr != "" {
			return nil, usagef("leave one of them out").because("--oap, and --socket or --addr, name two ways")
		}
		return httpapi.NewClient(httpapi.ClientOptions{
			OAP: a.oap, Retry: retry, AnswerTimeout: a.timeout, TLS: trust, Token: func() (string, error) { return a.sys.Getenv("RON_CAP"), nil },
		})
	}
	opt := httpapi.ClientOptions{Socket: a.socket, Addr: a.addr, Retry: retry, AnswerTimeout: a.timeout, TLS: trust}
	if opt.Socket == "" && opt.Addr == "" {
		opt.Addr = a.sys.Getenv("RON_ADDR")
	}
	if opt.Socket == "" && opt.Addr == "" {
		path, addr := httpapi.SocketPath(a.sys.Getenv, a.sys.UID, a.sys.TempDir), cmp.Or(a.sys.DefaultAddr, defaultAddr)
		no := a.probe(ctx, "unix", path)
		if no == nil {
			opt.Socket = path
		} else if nor := a.probe(ctx, "tcp", addr); nor != nil {
			if cause := context.Cause(ctx); cause != nil {
				return nil, cause
			}
			return nil, fmt.Errorf("%w: tried the socket %s (%v) and the address %s (%v)",
				httpapi.ErrUnreachable, path, root(no), addr, root(nor))
		} else {
			opt.Addr = addr
			a.guessed = true
		}
		a.socket, a.addr = opt.Socket, opt.Addr // the rest of this run means the same node
	}
	if opt.Socket == "" && !a.guessed { // a capability is for a node that was named, not for whoever has the port
		opt.Token = func() (string, error) { return a.sys.Getenv("RON_CAP"), nil }
	}
	c, err := httpapi.NewClient(opt)
	if err != nil {
		return nil, usagef("--addr takes HOST:PORT").because(err.Error())
	}
	if retry.Attempts > 0 { // patience is for a node that is lost on the way, not for one that never was
		if _, err := c.Ready(ctx, false, false); errors.Is(err, httpapi.ErrUnreachable) {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// trust is what --ca says; nil without it.
func (a *app) trust() (*tls.Config, error) {
	if a.ca == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(a.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", a.ca)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// probe tells whether somebody listens. A socket is trusted only when it and
// its directory belong to this user or root.
func (a *app) probe(ctx context.Context, network, address string) error {
	if network == "unix" {
		for _, path := range []string{filepath.Dir(address), address} {
			if err := a.owned(path); err != nil {
				return err
			}
		}
	}
	conn, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (a *app) owned(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != a.sys.UID && st.Uid != 0 {
		return fmt.Errorf("%s belongs to uid %d", path, st.Uid)
	}
	return nil
}

// root is the shortest true reason of a failed connection.
func root(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
