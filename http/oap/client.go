package oap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"micronode/http/inflate"
)

// ALPN is the protocol's name in a TLS handshake (contract §7).
const ALPN = "oap/1"

// Bounds of a client.
const (
	clientWrite = 10 * time.Second // of one frame; who takes none for so long is gone
	maxAnswer   = 16 << 20         // bytes of an answer that is kept in memory
)

// ClientOptions configure a [Client]; the zero value will do.
type ClientOptions struct {
	TLS *tls.Config // nil: plain TCP. The server's name and ALPN are added where they are missing.
	UA  string      // for HELLO
	Cap []byte      // capability, goes with each START
	// ErrorOf words an answer of code 400 and above; nil: a [*RemoteError].
	ErrorOf func(code uint16, body []byte) error
}

// RemoteError is an answer that is an error.
type RemoteError struct {
	Code uint16 // a status of contract §5
	Body []byte // application/problem+json
}

// Error implements error.
func (e *RemoteError) Error() string { return fmt.Sprintf("oap: answered %d: %s", e.Code, e.Body) }

// Client is one connection to a server, on which exchanges interleave. It is safe
// for concurrent use. It does not connect again: when the connection is lost, which
// is also how a server ends an idle one, every call fails, and the caller dials anew.
//
// Answers are taken off the connection in the order they come. Who is slow to take
// his, holds up the others.
type Client struct {
	o     ClientOptions
	conn  net.Conn
	turn  chan struct{} // holds a token while somebody writes
	slots chan struct{} // holds a token for each open exchange
	gone  chan struct{} // closed when nothing is read any more

	mu   sync.Mutex // guards all that follows
	next uint64
	open map[uint64]*request
	err  error // why gone
}

// Dial connects, and shakes hands where TLS is asked for. ctx bounds only that.
func Dial(ctx context.Context, addr string, o ClientOptions) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("oap: %w", err)
	}
	if o.TLS != nil {
		host, _, _ := net.SplitHostPort(addr) // it was dialled
		if conn, err = handshake(ctx, conn, o.TLS, host); err != nil {
			return nil, err
		}
	}
	c := &Client{
		o: o, conn: conn, turn: make(chan struct{}, 1), slots: make(chan struct{}, MaxInflight),
		gone: make(chan struct{}), open: map[uint64]*request{},
	}
	go c.read() // awaited by Close
	return c, nil
}

func handshake(ctx context.Context, conn net.Conn, cfg *tls.Config, host string) (net.Conn, error) {
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	if len(cfg.NextProtos) == 0 {
		cfg.NextProtos = []string{ALPN}
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error says more
		return nil, fmt.Errorf("oap: TLS handshake: %w", err)
	}
	return secure, nil
}

// Close ends the connection and every call on it, and waits for its reader.
// Closing again changes nothing.
func (c *Client) Close() error {
	c.lost(net.ErrClosed)
	err := c.conn.Close()
	<-c.gone
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// lost keeps the first reason why the connection ended.
func (c *Client) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = fmt.Errorf("oap: connection to %s lost: %w", c.conn.RemoteAddr(), err)
	}
}

func (c *Client) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// read hands frames to the exchanges they belong to, until the connection ends.
func (c *Client) read() {
	defer close(c.gone)
	defer c.conn.Close() // nothing is sent any more either
	ctx := context.Background()
	dec := Decoder{Ratio: 10, InflateMax: 8 << 20, Guard: inflate.NewGuard()}
	for {
		f, ok, err := dec.Next(ctx)
		switch {
		case err != nil:
			c.lost(err)
			return
		case ok:
			if err := c.hand(&f); err != nil {
				c.lost(err)
				return
			}
			continue
		}
		n, err := c.conn.Read(dec.Room())
		dec.Filled(n)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // nobody waits for an end
			}
			c.lost(err)
			return
		}
	}
}

// hand gives a frame to its exchange. Answers to what nobody waits for any more
// are dropped; an error without an exchange is the connection's.
func (c *Client) hand(f *Frame) error {
	c.mu.Lock()
	x := c.open[f.Corr]
	c.mu.Unlock()
	switch {
	case f.Flags&FlagResp == 0:
	case x != nil:
		select {
		case x.answers <- answer{f.Flags, f.Code, slices.Clone(f.Payload)}:
		case <-x.done:
		}
	case f.Corr == 0 && f.Code >= 400:
		return c.errorOf(f.Code, slices.Clone(f.Payload))
	}
	return nil
}

func (c *Client) errorOf(code uint16, body []byte) error {
	if c.o.ErrorOf != nil {
		return c.o.ErrorOf(code, body)
	}
	return &RemoteError{code, body}
}

// write sends one frame whole, or ends the connection.
func (c *Client) write(ctx context.Context, frame []byte) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.gone:
		return c.reason()
	}
	defer func() { <-c.turn }()
	err := c.conn.SetWriteDeadline(time.Now().Add(clientWrite))
	if err == nil {
		_, err = c.conn.Write(frame)
	}
	if err == nil {
		return nil
	}
	c.lost(err) // a frame may be half out: nothing can follow
	_ = c.conn.Close()
	return c.reason()
}
