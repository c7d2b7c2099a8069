package httpapi_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	httpapi "micronode/http"
	"micronode/http/oap"
)

// authorityOf makes an authority for one test.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	next int64
}

func newCA(t testing.TB, name string) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return &testCA{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), next: 2}
}

// issue makes a certificate for a loopback server or a client.
func (ca *testCA) issue(t testing.TB, name string) (cert, key []byte) {
	t.Helper()
	return ca.issueFor(t, name, nil)
}

// issueFor makes one for a key; nil: a new one of ECDSA.
func (ca *testCA) issueFor(t testing.TB, name string, k crypto.Signer) (cert, key []byte) {
	t.Helper()
	if k == nil {
		var err error
		if k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	ca.next++
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(ca.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, ca.cert, k.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := x509.MarshalPKCS8PrivateKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func (ca *testCA) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return &tls.Config{RootCAs: pool}
}

// shakes are the handshakes that a door has told of.
type shakes struct {
	told chan httpapi.Handshake
}

func (s *shakes) next(t testing.TB) httpapi.Handshake {
	t.Helper()
	select {
	case h := <-s.told:
		return h
	case <-time.After(10 * time.Second):
		t.Fatal("no handshake was told")
		return httpapi.Handshake{}
	}
}

// startTLS starts a door that speaks TLS.
func startTLS(t *testing.T, ca *testCA, change func(*httpapi.Options)) (*rig, *shakes) {
	t.Helper()
	s := &shakes{told: make(chan httpapi.Handshake, 4096)}
	r := start(t, func(o *httpapi.Options) {
		o.TLS.Cert, o.TLS.Key = ca.issue(t, "node")
		o.TLS.PQ = httpapi.PQHybrid
		o.Ports.Observe.Handshake = func(h httpapi.Handshake) { s.told <- h }
		if change != nil {
			change(o)
		}
	})
	return r, s
}

func secureClient(cfg *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}}
}

// TestKeyExchange holds what is negotiated against each mode, a client for each group.
func TestKeyExchange(t *testing.T) {
	ca := newCA(t, "ca")
	pq, classic := tls.X25519MLKEM768, tls.X25519
	for _, tc := range []struct {
		mode      string
		offers    []tls.CurveID
		group     string // empty: refused
		downgrade bool
	}{
		{httpapi.PQOff, []tls.CurveID{pq, classic}, "X25519", false},
		{httpapi.PQOff, []tls.CurveID{pq}, "", false},
		{httpapi.PQOff, []tls.CurveID{tls.CurveP256}, "CurveP256", false},
		{httpapi.PQHybrid, []tls.CurveID{pq, classic}, "X25519MLKEM768", false},
		{httpapi.PQHybrid, []tls.CurveID{classic}, "X25519", true},
		{httpapi.PQHybrid, []tls.CurveID{tls.CurveP384}, "CurveP384", true},
		{httpapi.PQRequired, []tls.CurveID{pq, classic}, "X25519MLKEM768", false},
		{httpapi.PQRequired, []tls.CurveID{classic}, "", false},
		{httpapi.PQRequired, []tls.CurveID{tls.CurveP256}, "", false},
	} {
		r, s := startTLS(t, ca, func(o *httpapi.Options) { o.TLS.PQ = tc.mode })
		cfg := ca.trust()
		cfg.CurvePreferences = tc.offers
		c, err := tls.Dial("tcp", r.addr, cfg)
		var seen tls.CurveID
		if err == nil {
			seen = c.ConnectionState().CurveID
			_ = c.Close()
		}
		h := s.next(t)
		switch {
		case tc.group == "":
			if err == nil || h.Failure != "key_exchange" {
				t.Errorf("%s, client %v: %v, %+v", tc.mode, tc.offers, err, h)
			}
		case err != nil || h.Group != tc.group || seen.String() != tc.group || h.Downgrade != tc.downgrade:
			t.Errorf("%s, client %v: %v, client saw %v, told %+v", tc.mode, tc.offers, err, seen, h)
		}
	}
}

func TestHandshakeRefusals(t *testing.T) {
	ca := newCA(t, "ca")
	r, s := startTLS(t, ca, nil)
	if _, err := tls.Dial("tcp", r.addr, &tls.Config{RootCAs: ca.trust().RootCAs, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was taken")
	}
	if h := s.next(t); h.Failure != "version" {
		t.Errorf("TLS 1.2: %+v", h)
	}
	if _, err := tls.Dial("tcp", r.addr, newCA(t, "other").trust()); err == nil {
		t.Error("an unknown authority was trusted")
	}
	if h := s.next(t); h.Failure != "refused_by_client" {
		t.Errorf("unknown authority: %+v", h)
	}
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	said, _ := io.ReadAll(c)
	_ = c.Close()
	if !strings.HasPrefix(string(said), "HTTP/1.1 400") || !strings.Contains(string(said), "https://") {
		t.Errorf("plain HTTP was answered %q", said)
	}
	if h := s.next(t); h.Failure != "not_tls" {
		t.Errorf("plain HTTP: %+v", h)
	}
	c, err = net.Dial("tcp", r.addr) // says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a silent client was answered")
	}
	if h := s.next(t); h.Failure != "timeout" && h.Failure != "client_gone" {
		t.Errorf("silence: %+v", h)
	}
}

// TestClientCertificate: beyond loopback a certificate reaches admin and metrics,
// and objects do not open to it.
func TestClientCertificate(t *testing.T) {
	ca, clients := newCA(t, "ca"), newCA(t, "clients")
	r, _ := startTLS(t, ca, func(o *httpapi.Options) {
		o.HTTPAddr, o.TLS.ClientCA, o.Auth = "0.0.0.0:0", clients.pem, allowAll(t)
	})
	_, port, _ := net.SplitHostPort(r.addr)
	ask := func(cfg *tls.Config, path string) (int, error) {
		c := secureClient(cfg)
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://127.0.0.1:" + port + path)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	with := func(from *testCA) *tls.Config {
		cfg := ca.trust()
		pair, err := tls.X509KeyPair(from.issue(t, "scraper"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		return cfg
	}
	for path, want := range map[string]int{"/metrics": 401, "/api/v1/status": 401, "/healthz": 200, "/o": 401} {
		if got, err := ask(ca.trust(), path); got != want {
			t.Errorf("without a certificate %s: %d %v", path, got, err)
		}
	}
	for path, want := range map[string]int{"/metrics": 200, "/api/v1/status": 200} {
		if got, err := ask(with(clients), path); got != want {
			t.Errorf("with a certificate %s: %d %v", path, got, err)
		}
	}
	if got, err := ask(with(newCA(t, "strangers")), "/metrics"); err == nil {
		t.Errorf("a stranger's certificate: %d", got)
	}
}

// TestSwapCertificates puts other certificates into force again and again under
// load; no request fails, and new connections see the new one.
func TestSwapCertificates(t *testing.T) {
	ca := newCA(t, "ca")
	r, _ := startTLS(t, ca, nil)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var asked, failed atomic.Int64
	for i := range 4 {
		all.Go(func() {
			c := secureClient(ca.trust())
			defer c.CloseIdleConnections()
			for ctx.Err() == nil {
				resp, err := c.Get("https://" + r.addr + "/healthz")
				if err != nil || resp.StatusCode != 200 {
					failed.Add(1)
					t.Errorf("request: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				asked.Add(1)
				if i%2 == 0 {
					c.CloseIdleConnections() // a handshake for each
				}
			}
		})
	}
	for range 100 {
		cert, key := ca.issue(t, "node")
		if err := r.door.UseTLS(httpapi.TLSFiles{Cert: cert, Key: key, PQ: httpapi.PQHybrid}); err != nil {
			t.Fatal(err)
		}
		r.door.RotateTickets([][32]byte{{1}, {2}})
		before := asked.Load()
		for asked.Load() < before+4 && failed.Load() == 0 {
			if _, err := tls.Dial("tcp", r.addr, ca.trust()); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	all.Wait()
	cert, key := ca.issue(t, "the last one")
	if err := r.door.UseTLS(httpapi.TLSFiles{Cert: cert, Key: key, PQ: httpapi.PQHybrid}); err != nil {
		t.Fatal(err)
	}
	if err := r.door.UseTLS(httpapi.TLSFiles{Cert: cert, Key: []byte("junk")}); err == nil {
		t.Error("junk was put into force")
	}
	c, err := tls.Dial("tcp", r.addr, ca.trust())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "the last one" {
		t.Errorf("new connections see %q", got)
	}
	if failed.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

// TestOverTLS: HTTP/2 and OAP/1 come by ALPN.
func TestOverTLS(t *testing.T) {
	ca := newCA(t, "ca")
	r, _ := startTLS(t, ca, func(o *httpapi.Options) { o.OAPAddr = "127.0.0.1:0" })
	c := secureClient(ca.trust())
	defer c.CloseIdleConnections()
	resp, err := c.Post("https://"+r.addr+"/put", "application/octet-stream", strings.NewReader("over TLS"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 201 {
		t.Errorf("%s %d", resp.Proto, resp.StatusCode)
	}
	for _, l := range r.door.Listeners() {
		if l.Plane != "oap" {
			continue
		}
		o, err := oap.Dial(t.Context(), l.Address, oap.ClientOptions{TLS: ca.trust()})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if _, err := o.Head(t.Context(), "b3:"+strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("OAP over TLS: %v", err)
		}
	}
}

// BenchmarkHandshake compares the key exchanges; ns/op is a whole handshake on loopback.
func BenchmarkHandshake(b *testing.B) {
	for _, tc := range []struct {
		cert  string
		group tls.CurveID
	}{{"ECDSA-P256", tls.X25519}, {"ECDSA-P256", tls.X25519MLKEM768}, {"RSA-2048", tls.X25519}, {"RSA-2048", tls.X25519MLKEM768}} {
		group := tc.group
		b.Run(tc.cert+"/"+group.String(), func(b *testing.B) {
			ca := newCA(b, "ca")
			var own crypto.Signer
			if tc.cert == "RSA-2048" {
				own, _ = rsa.GenerateKey(rand.Reader, 2048)
			}
			cert, key := ca.issueFor(b, "node", own)
			pair, _ := tls.X509KeyPair(cert, key)
			l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{group}})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_ = c.(*tls.Conn).Handshake()
					_ = c.Close()
				}
			}()
			cfg := ca.trust()
			cfg.CurvePreferences = []tls.CurveID{group}
			var all []time.Duration
			for b.Loop() {
				began := time.Now()
				c, err := tls.Dial("tcp", l.Addr().String(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, time.Since(began))
				_ = c.Close()
			}
			b.ReportMetric(float64(percentile(all, 95).Microseconds()), "p95-µs")
		})
	}
}
