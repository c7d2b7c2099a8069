package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"micronode/http/oap"
)

// handshakeWait bounds a TLS handshake (contract §6).
const handshakeWait = 2 * time.Second

// Modes of post-quantum key exchange (contract §8).
const (
	PQOff      = "off"      // classical groups only
	PQHybrid   = "hybrid"   // X25519MLKEM768 first, classical for who has nothing better
	PQRequired = "required" // X25519MLKEM768 and nothing else
)

// TLSFiles is what TLS is made of; the zero value is no TLS.
type TLSFiles struct {
	Cert, Key, ClientCA []byte // PEM; ClientCA empty: no client certificates
	PQ                  string // PQOff | PQHybrid | PQRequired
	TLS12               bool   // 1.2 is taken, too
}

// Reasons of failed handshakes, a bounded set for tls_handshake_failures_total.
const (
	tlsTimeout  = "timeout"
	tlsPlain    = "not_tls"
	tlsVersion  = "version"
	tlsGroup    = "key_exchange"
	tlsCertBad  = "client_certificate"
	tlsClientNo = "refused_by_client" // an alert: it does not trust the certificate, most likely
	tlsGone     = "client_gone"
	tlsOther    = "other"
)

// protocols of the planes that speak TLS (ALPN, RFC 7301).
var alpn = map[string][]string{
	planeData:    {"h2", "http/1.1"},
	planeOAP:     {oap.ALPN},
	planeMetrics: {"http/1.1"},
}

// keeper holds the TLS configuration in force, one for each plane; a handshake
// takes the newest, and what was shaken before goes on.
type keeper struct {
	ports *Ports
	pq    atomic.Pointer[string]
	now   atomic.Pointer[map[string]*tls.Config]
	fresh atomic.Bool // no key of tickets was given since the last use
}

// use puts other certificates into force, or nothing on an error. New ones come
// with new keys for session tickets.
func (k *keeper) use(t TLSFiles) error {
	all := map[string]*tls.Config{}
	for plane, protocols := range alpn {
		c, err := t.config(protocols...)
		if err != nil {
			return err
		}
		all[plane] = c
	}
	k.fresh.Store(true)
	k.pq.Store(&t.PQ)
	k.now.Store(&all)
	return nil
}

// rotateTickets gives session tickets another key; those of the key before are
// still taken.
func (k *keeper) rotateTickets(keys [][32]byte) {
	if k.fresh.Swap(false) {
		keys = keys[:1] // tickets of other certificates and authorities are over
	}
	if all := k.now.Load(); all != nil {
		for _, c := range *all {
			c.SetSessionTicketKeys(keys)
		}
	}
}

// server begins TLS on an accepted connection.
func (k *keeper) server(nc net.Conn, plane string) *tls.Conn {
	return tls.Server(nc, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return (*k.now.Load())[plane], nil
	}})
}

// done tells of a handshake.
func (k *keeper) done(group tls.CurveID, failure string) {
	if k.ports.Observe.Handshake == nil {
		return
	}
	h := Handshake{Failure: failure}
	if failure == "" {
		h.Group = groupName(group)
		h.Downgrade = *k.pq.Load() == PQHybrid && group != tls.X25519MLKEM768
	}
	k.ports.Observe.Handshake(h)
}

// groupName bounds groups for labels.
func groupName(g tls.CurveID) string {
	switch g {
	case tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521:
		return g.String()
	case 0:
		return "none"
	}
	return "other"
}

// Groups lists the key exchanges that a mode offers.
func Groups(mode string) []string {
	var names []string
	for _, g := range groups(mode) {
		names = append(names, groupName(g))
	}
	return names
}

func groups(mode string) []tls.CurveID {
	switch mode {
	case PQOff:
		return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	case PQRequired:
		return []tls.CurveID{tls.X25519MLKEM768}
	default:
		return []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
	}
}

// config checks the parts and puts them together for a plane's protocols.
func (t TLSFiles) config(protocols ...string) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, NextProtos: protocols}
	if t.TLS12 && t.PQ != PQRequired {
		c.MinVersion = tls.VersionTLS12
	}
	c.CurvePreferences = groups(t.PQ)
	if len(t.ClientCA) > 0 {
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !c.ClientCAs.AppendCertsFromPEM(t.ClientCA) {
			return nil, errors.New("tls.client_ca: no certificate in it")
		}
	}
	return c, nil
}

// Check says whether the parts fit together.
func (t TLSFiles) Check() error {
	_, err := t.config()
	return err
}

// secure reports whether the connection is encrypted.
func (c *conn) secure() bool { return c.tls != nil }

// subject is the name in the client's certificate, "" without one.
func (c *conn) subject() string {
	if name := c.peerName.Load(); name != nil {
		return *name
	}
	return ""
}

// handshake is done by the goroutine that serves the connection, before its first
// read. A failure is counted and looks like a client that left.
func (c *conn) handshake() error {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeWait)
	defer cancel()
	err := c.tls.HandshakeContext(ctx)
	if err == nil {
		s := c.tls.ConnectionState()
		if len(s.VerifiedChains) > 0 {
			name := s.PeerCertificates[0].Subject.String()
			c.peerName.Store(&name)
		}
		c.set.tls.done(s.CurveID, "")
		return nil
	}
	reason := handshakeReason(ctx, err)
	c.set.tls.done(0, reason)
	if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil {
		_ = plain.Conn.SetWriteDeadline(time.Now().Add(goodbyeWait))
		_, _ = io.WriteString(plain.Conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 41\r\n\r\nThis port speaks TLS. Connect by https://")
	}
	return io.EOF
}

func handshakeReason(ctx context.Context, err error) string {
	var plain tls.RecordHeaderError
	var alert tls.AlertError
	var cert *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return tlsTimeout
	case errors.As(err, &plain):
		return tlsPlain
	case errors.As(err, &cert):
		return tlsCertBad
	case contains(text, "unsupported versions", "protocol version"):
		return tlsVersion
	case contains(text, "no mutually supported", "no key exchanges", "no supported key", "key share", "no ECDHE curve", "selected group", "handshake failure"):
		return tlsGroup
	case errors.As(err, &alert), contains(text, "remote error"):
		return tlsClientNo
	case contains(text, "certificate"):
		return tlsCertBad
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), contains(text, "reset by peer", "broken pipe"):
		return tlsGone
	}
	return tlsOther
}

func contains(text string, any ...string) bool {
	for _, part := range any {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
