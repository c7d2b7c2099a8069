package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxSocketPath is sun_path of Linux less its final zero.
const maxSocketPath = 107

// rule holds the effective configuration against what one key alone cannot
// tell. An empty msg is consent.
type rule struct {
	keys  []string // the fault is told of the first one that somebody set
	check func(Config) (msg, hint string)
}

func rules() []rule {
	return []rule{
		{[]string{"amnesia", "store.dir"}, amnesiaOrDir},
		{[]string{"keys.identity_file", "keys.passphrase_file"}, sealing},
		{[]string{"peers"}, peers},
		{[]string{"tls.cert", "tls.key", "tls.client_ca", "tls.pq_mode", "tls.min_version"}, tlsWhole},
		{[]string{"http_addr"}, func(c Config) (string, string) { return listener(c.HTTPAddr, c) }},
		{[]string{"metrics_addr"}, metricsListener},
		{[]string{"oap_addr"}, oapListener},
		{[]string{"allowed_hosts"}, hostNames},
		{[]string{"trusted_proxies"}, proxies},
		{[]string{"fairness.queue_per_flow", "fairness.queue_total"}, func(c Config) (string, string) {
			if c.Fairness.QueuePerFlow > c.Fairness.QueueTotal {
				return fmt.Sprintf("%d is above fairness.queue_total, which is %d", c.Fairness.QueuePerFlow, c.Fairness.QueueTotal), "lower it, or raise the total"
			}
			return "", ""
		}},
		{[]string{"uds.path"}, socketPath},
		{[]string{"supervisor.backoff_min", "supervisor.backoff_max"}, func(c Config) (string, string) {
			return ordered("backoff_min", c.Supervisor.BackoffMin, "backoff_max", c.Supervisor.BackoffMax)
		}},
		{[]string{"supervisor.quarantine_after", "supervisor.max_restarts"}, quarantineAboveStorm},
		{[]string{"limits.header_timeout", "limits.request_timeout"}, func(c Config) (string, string) {
			return ordered("header_timeout", c.Limits.HeaderTimeout, "request_timeout", c.Limits.RequestTimeout)
		}},
	}
}

// rules checks all that nothing worse was already said of.
func (j *judge) rules(l Loaded) {
	if j.blind {
		return
	}
	for _, r := range rules() {
		where, skip := r.keys[0], false
		for i := len(r.keys) - 1; i >= 0; i-- {
			skip = skip || j.bad[r.keys[i]]
			if l.Origins[r.keys[i]].Source != fromDefault {
				where = r.keys[i]
			}
		}
		if skip {
			continue
		}
		if msg, hint := r.check(l.Config); msg != "" {
			f := l.Origins[where].fault(where, msg, hint)
			f.Value = printable(text(j.byName[where].get(&l.Config)))
			j.faults = append(j.faults, f)
		}
	}
}

func amnesiaOrDir(c Config) (msg, hint string) {
	switch {
	case c.Amnesia && c.Store.Dir != "":
		return "a directory keeps data on disk, and amnesia=true writes none", "set amnesia to false, or leave store.dir out"
	case !c.Amnesia && c.Store.Dir == "":
		return "amnesia=false keeps data on disk, and store.dir does not say where", "set store.dir, or leave amnesia out"
	}
	return "", ""
}

func sealing(c Config) (msg, hint string) {
	k := c.Keys
	switch {
	case k.IdentityFile == "" && k.PassphraseFile == "":
		return "", ""
	case c.Amnesia:
		return "seals keys that are kept in store.dir, and amnesia=true keeps none", "set amnesia to false, or leave it out"
	case k.IdentityFile != "" && k.PassphraseFile != "":
		return "identity_file and passphrase_file are two ways to seal the same keys", "name one of them"
	}
	return "", ""
}

func peers(c Config) (msg, hint string) {
	for _, p := range c.Peers {
		u, err := url.Parse(p)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Sprintf("%q is not the base URL of a node", printable(p)), "write it as http://10.0.0.7:8080"
		}
	}
	return "", ""
}

func tlsWhole(c Config) (msg, hint string) {
	switch {
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return "cert and key go together", "name both files, or neither"
	case c.TLS.Cert == "" && c.TLS.ClientCA != "":
		return "client_ca has no effect without tls.cert and tls.key", "name them, or leave it out"
	case c.TLS.Cert == "" && c.TLS.PQMode == "required":
		return "pq_mode=required cannot hold without tls.cert and tls.key", "name them, or leave it out"
	case c.TLS.PQMode == "required" && c.TLS.MinVersion == "1.2":
		return "pq_mode=required needs TLS 1.3", "set tls.min_version to 1.3"
	}
	return "", ""
}

// listener wants host:port, in dev mode on loopback: whoever reaches the door
// there may do everything.
func listener(addr string, c Config) (msg, hint string) {
	const form = "write host:port, as 127.0.0.1:8080"
	if addr == "" {
		return "is empty", form
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Sprintf("%q is not an address", printable(addr)), form
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%q has no port from 0 to 65535", printable(addr)), form
	}
	if c.Auth.Mode != "dev" || loopback(host) {
		return "", ""
	}
	who := printable(host) + " is not a loopback address"
	if host == "" {
		who = "no host means every interface"
	}
	return fmt.Sprintf("%q: %s, and auth.mode=dev lets everybody who connects do everything", printable(addr), who),
		"use 127.0.0.1:" + port + ", [::1]:" + port + " or localhost:" + port + ", behind a proxy of your own if others must reach it"
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func metricsListener(c Config) (msg, hint string) {
	if c.MetricsAddr == "" {
		return "", ""
	}
	if msg, hint := listener(c.MetricsAddr, c); msg != "" {
		return msg, hint
	}
	if _, port, _ := net.SplitHostPort(c.MetricsAddr); port != "0" && c.MetricsAddr == c.HTTPAddr {
		return "is the same as http_addr", "leave it empty to serve /metrics there"
	}
	return "", ""
}

func oapListener(c Config) (msg, hint string) {
	if c.OAPAddr == "" {
		return "", ""
	}
	if msg, hint := listener(c.OAPAddr, c); msg != "" {
		return msg, hint
	}
	if _, port, _ := net.SplitHostPort(c.OAPAddr); port != "0" && (c.OAPAddr == c.HTTPAddr || c.OAPAddr == c.MetricsAddr) {
		return "is the address of another listener", "OAP/1 needs a port of its own"
	}
	return "", ""
}

func proxies(c Config) (msg, hint string) {
	for _, p := range c.TrustedProxies {
		if _, ok := network(p); !ok {
			return fmt.Sprintf("%q is neither an IP address nor a CIDR", printable(p)), "write it as 10.0.0.7 or 10.1.0.0/16"
		}
	}
	return "", ""
}

func hostNames(c Config) (msg, hint string) {
	for _, h := range c.AllowedHosts {
		_, err := netip.ParseAddr(h)
		odd := strings.Trim(strings.ToLower(h), "abcdefghijklmnopqrstuvwxyz0123456789.-_") != ""
		if h == "" || len(h) > 253 || odd && err != nil {
			return fmt.Sprintf("%q is not a host name", printable(h)), "write it without scheme, port or wildcard, as node.example.org"
		}
	}
	return "", ""
}

func socketPath(c Config) (msg, hint string) {
	switch p := c.UDS.Path; {
	case len(p) > maxSocketPath:
		return fmt.Sprintf("is %d bytes long, a unix socket takes %d", len(p), maxSocketPath), "use a shorter directory"
	case strings.HasPrefix(p, "@"):
		return "is an abstract socket, which has no owner and no mode", "use a path in a directory of your own"
	case strings.HasSuffix(p, "/"):
		return "is a directory", "name the socket in it, as " + printable(p) + "micronode.sock"
	}
	return "", ""
}

func ordered(lowName string, low time.Duration, highName string, high time.Duration) (msg, hint string) {
	if low <= high {
		return "", ""
	}
	return fmt.Sprintf("%s (%s) is above %s (%s)", lowName, text(low), highName, text(high)), "lower the one or raise the other"
}

func quarantineAboveStorm(c Config) (msg, hint string) {
	if c.Supervisor.QuarantineAfter > c.Supervisor.MaxRestarts {
		return "", ""
	}
	return fmt.Sprintf("quarantine_after (%d) must be above max_restarts (%d): a storm comes before quarantine",
		c.Supervisor.QuarantineAfter, c.Supervisor.MaxRestarts), "raise quarantine_after or lower max_restarts"
}

// oddities are settings that contradict nothing and yet can hardly be meant.
func oddities(c Config) (warnings []string) {
	if c.Limits.MaxObjectBytes > c.Store.MaxBytes {
		warnings = append(warnings, fmt.Sprintf("limits.max_object_bytes (%s) is above store.max_bytes (%s): an object that large is never stored",
			c.Limits.MaxObjectBytes, c.Store.MaxBytes))
	}
	if c.Limits.MaxBodyBytes > c.Limits.MaxObjectBytes {
		warnings = append(warnings, fmt.Sprintf("limits.max_body_bytes (%s) is above limits.max_object_bytes (%s): a body with a Content-Length may be larger than a stream",
			c.Limits.MaxBodyBytes, c.Limits.MaxObjectBytes))
	}
	if c.TLS.Cert == "" {
		for _, a := range []string{c.HTTPAddr, c.OAPAddr, c.MetricsAddr} {
			if host, _, err := net.SplitHostPort(a); err == nil && !loopback(host) {
				warnings = append(warnings, a+" is reached from elsewhere and speaks plain text: capabilities and payloads can be read on the way. Set tls.cert and tls.key")
				break
			}
		}
	}
	return warnings
}
