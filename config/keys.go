package config

import (
	"math"
	"slices"
	"time"
)

// Keys is the table of every key, root keys first, then section by section;
// the order of print and schema. Each call gives a fresh slice.
func Keys() []Key {
	return slices.Concat(rootKeys(), sectionKeys(), mailboxKeys(), limitKeys(), fairnessKeys(), supervisorKeys(), reservedKeys())
}

func rootKeys() []Key {
	return []Key{
		row("http_addr", "127.0.0.1:8080", func(c *Config) *string { return &c.HTTPAddr },
			"host:port of the data and admin door; port 0 picks a free one").flag("http-addr"),
		row("metrics_addr", "", func(c *Config) *string { return &c.MetricsAddr },
			"host:port of /metrics alone; empty serves it at http_addr").flag("metrics-addr"),
		row("oap_addr", "", func(c *Config) *string { return &c.OAPAddr },
			"host:port of OAP/1; empty does not serve it").flag("oap-addr"),
		row("amnesia", true, func(c *Config) *bool { return &c.Amnesia },
			"keep everything in RAM and nothing on disk; false needs store.dir").
			toggle("amnesia", "true", "keep everything in RAM and nothing on disk"),
		row("amnesia_strict", false, func(c *Config) *bool { return &c.AmnesiaStrict },
			"do not start where the kernel cannot enforce amnesia"),
		row("allowed_hosts", []string(nil), func(c *Config) *[]string { return &c.AllowedHosts },
			"Host names accepted on a loopback bind besides the loopback names; no scheme, no port"),
		row("trusted_proxies", []string(nil), func(c *Config) *[]string { return &c.TrustedProxies },
			"IP addresses and CIDRs whose X-Forwarded-For names the client").live(),
		row("peers", []string(nil), func(c *Config) *[]string { return &c.Peers },
			"base URLs of nodes that damaged objects are fetched from, as http://10.0.0.7:8080; they share keys.root_file with this one"),
		row("peers_ca", "", func(c *Config) *string { return &c.PeersCA },
			"PEM file of authorities that vouch for https peers besides the system's"),
		row("drain_grace", 0, func(c *Config) *time.Duration { return &c.DrainGrace },
			"how long to keep listening after /readyz turned 503, for load balancers; a duration").
			span(0, 10*time.Minute).live(),
		row("drain_deadline", 5*time.Second, func(c *Config) *time.Duration { return &c.DrainDeadline },
			"hard end of a drain after drain_grace, stragglers are cut; a duration").
			span(100*time.Millisecond, 10*time.Minute).live(),
	}
}

func sectionKeys() []Key {
	return []Key{
		row("log.level", "info", func(c *Config) *string { return &c.Log.Level },
			"least severe line that is logged: debug, info, warn or error").oneOf("debug", "info", "warn", "error").flag("log"),
		row("log.format", "auto", func(c *Config) *string { return &c.Log.Format },
			"auto is text on a terminal and JSON elsewhere").oneOf("auto", "json", "text"),

		row("uds.path", "", func(c *Config) *string { return &c.UDS.Path },
			"operator socket; empty is micronode.sock in the runtime directory; at most 107 bytes"),
		row("uds.allow_uids", []int(nil), func(c *Config) *[]int { return &c.UDS.AllowUIDs },
			"user ids let in at the operator socket; empty is the node's own").in(0, math.MaxUint32-1),

		row("auth.mode", "cap", func(c *Config) *string { return &c.Auth.Mode },
			"cap asks every request for a capability; dev is anonymous and refuses any listener that is not loopback").
			oneOf("cap", "dev").toggle("dev", "dev", "anonymous access, loopback listeners only: auth.mode=dev"),

		row("keys.root_file", "", func(c *Config) *string { return &c.Keys.RootFile },
			"root keys of capabilities, 64 hex digits a line, the last one active, mode 0600; empty mints one at the start").secret(),
		row("keys.identity_file", "", func(c *Config) *string { return &c.Keys.IdentityFile },
			"age identities that keys kept in store.dir are sealed to, mode 0600; needs amnesia=false").secret(),
		row("keys.passphrase_file", "", func(c *Config) *string { return &c.Keys.PassphraseFile },
			"passphrase that keys kept in store.dir are sealed with, mode 0600; needs amnesia=false").secret(),
		row("policy.file", "", func(c *Config) *string { return &c.Policy.File },
			"Cedar policies; empty is the built-in policy").live(),
		row("tls.cert", "", func(c *Config) *string { return &c.TLS.Cert },
			"PEM file of the certificate chain; empty serves plain").flag("tls-cert").live(),
		row("tls.key", "", func(c *Config) *string { return &c.TLS.Key },
			"PEM file of the certificate's private key").flag("tls-key").secret().live(),
		row("tls.client_ca", "", func(c *Config) *string { return &c.TLS.ClientCA },
			"PEM file of authorities whose client certificates reach admin and metrics").live(),
		row("tls.pq_mode", "hybrid", func(c *Config) *string { return &c.TLS.PQMode },
			"post-quantum key exchange: hybrid offers it, required takes nothing else").oneOf("off", "hybrid", "required").live(),
		row("tls.min_version", "1.3", func(c *Config) *string { return &c.TLS.MinVersion },
			"oldest TLS that is taken").oneOf("1.3", "1.2").live(),

		row("store.max_bytes", 1*gib, func(c *Config) *Size { return &c.Store.MaxBytes },
			"bytes of objects held before a put is refused with 429; a size").in(1, int64(64*1024*gib)),
		row("store.dir", "", func(c *Config) *string { return &c.Store.Dir },
			"directory of a node that keeps what it is given; needs amnesia=false; made with mode 0700").flag("store-dir"),
		row("store.scrub_rate", 16*mib, func(c *Config) *Size { return &c.Store.ScrubRate },
			"bytes a second that scrub reads while it looks for damage; a size").in(int64(64*kib), int64(64*gib)),
		row("store.scrub_interval", 168*time.Hour, func(c *Config) *time.Duration { return &c.Store.ScrubInterval },
			"from the end of one scrub to the next, also across restarts; a duration").span(time.Minute, 10*365*24*time.Hour),
		row("store.max_ttl", 720*time.Hour, func(c *Config) *time.Duration { return &c.Store.MaxTTL },
			"longest X-Ron-Ttl accepted; a duration").span(time.Second, 10*365*24*time.Hour).live(),

		row("chaos.enabled", false, func(c *Config) *bool { return &c.Chaos.Enabled },
			"allow chaos kill and hang on the operator socket").
			toggle("chaos", "true", "allow chaos kill and hang on the operator socket"),

		row("bus.ring", 512, func(c *Config) *int { return &c.Bus.Ring },
			"events held for each subscriber before the oldest is dropped").in(1, 65536),
		row("bus.history", 1024, func(c *Config) *int { return &c.Bus.History },
			"events kept for tail --since").in(1, 1<<20),
	}
}

func mailboxKeys() []Key {
	return []Key{
		row("mailbox.enabled", true, func(c *Config) *bool { return &c.Mailbox.Enabled },
			"serve the mailbox; without it its routes do not exist"),
		row("mailbox.shards", 8, func(c *Config) *int { return &c.Mailbox.Shards },
			"supervised queues over which topics are spread by their hash").in(1, 64),
		row("mailbox.shard_capacity", 4096, func(c *Config) *int { return &c.Mailbox.ShardCapacity },
			"messages in a shard, dead ones included, before a send is refused with 429").in(1, 100_000_000),
		row("mailbox.max_bytes", 512*mib, func(c *Config) *Size { return &c.Mailbox.MaxBytes },
			"bytes of messages and dedup window in all before a send is refused with 429; a size").in(int64(1*kib), int64(64*1024*gib)),
		row("mailbox.max_inflight", 8192, func(c *Config) *int { return &c.Mailbox.MaxInflight },
			"messages under lease in all before a recv is refused with 429").in(1, 100_000_000),
		row("mailbox.visibility", 5*time.Second, func(c *Config) *time.Duration { return &c.Mailbox.Visibility },
			"lease of a recv that asks for none; a duration").span(250*time.Millisecond, 12*time.Hour),
		row("mailbox.max_attempts", 5, func(c *Config) *int { return &c.Mailbox.MaxAttempts },
			"deliveries without an ack before a message goes to the dead-letter queue").in(1, 1000),
		row("mailbox.dedup_window", 300*time.Second, func(c *Config) *time.Duration { return &c.Mailbox.DedupWindow },
			"how long an idempotency key is remembered; a duration").span(time.Second, 24*time.Hour),
		row("mailbox.require_idempotency", false, func(c *Config) *bool { return &c.Mailbox.RequireIdempotency },
			"refuse a send without an idempotency key"),
	}
}

func limitKeys() []Key {
	return []Key{
		row("limits.rps", 500, func(c *Config) *int { return &c.Limits.RPS },
			"requests a second for the whole node").in(1, 1_000_000_000).live(),
		row("limits.inflight", 512, func(c *Config) *int { return &c.Limits.Inflight },
			"requests served at once").in(1, 1_000_000).live(),
		row("limits.max_body_bytes", 1*mib, func(c *Config) *Size { return &c.Limits.MaxBodyBytes },
			"largest body with a Content-Length; a size").in(1, int64(1*gib)).live(),
		row("limits.max_object_bytes", 64*mib, func(c *Config) *Size { return &c.Limits.MaxObjectBytes },
			"largest streamed object; a size").in(1, int64(1024*gib)).live(),
		row("limits.decompress_ratio", 10, func(c *Config) *int { return &c.Limits.DecompressRatio },
			"plain bytes of a compressed body to its compressed ones").in(1, 1000).live(),
		row("limits.decompress_max_bytes", 8*mib, func(c *Config) *Size { return &c.Limits.DecompressMaxBytes },
			"plain bytes of a compressed body; a size").in(int64(1*kib), int64(1*gib)).live(),
		row("limits.max_conns", 1024, func(c *Config) *int { return &c.Limits.MaxConns },
			"open connections").in(1, 1_000_000).live(),
		row("limits.header_bytes", 16*kib, func(c *Config) *Size { return &c.Limits.HeaderBytes },
			"request line and headers of one request; a size").in(int64(1*kib), int64(1*mib)),
		row("limits.request_timeout", 5*time.Second, func(c *Config) *time.Duration { return &c.Limits.RequestTimeout },
			"one request, or one 64 KiB slice of a streamed body; a duration").
			span(10*time.Millisecond, time.Hour).live(),
		row("limits.header_timeout", 2*time.Second, func(c *Config) *time.Duration { return &c.Limits.HeaderTimeout },
			"from the first byte to complete headers; a duration").span(10*time.Millisecond, time.Hour),
		row("limits.idle_timeout", time.Minute, func(c *Config) *time.Duration { return &c.Limits.IdleTimeout },
			"keep-alive connection without a request; a duration").span(10*time.Millisecond, 24*time.Hour),
	}
}

func fairnessKeys() []Key {
	return []Key{
		row("fairness.weights", Weights(nil), func(c *Config) *Weights { return &c.Fairness.Weights },
			"share of a client, by IP address or CIDR; 1 where none is named, the longest prefix where several fit").in(1, 1000).live(),
		row("fairness.queue_per_flow", 64, func(c *Config) *int { return &c.Fairness.QueuePerFlow },
			"requests of one client that may wait for a slot or a token; writes half of it").in(1, 1_000_000).live(),
		row("fairness.queue_total", 512, func(c *Config) *int { return &c.Fairness.QueueTotal },
			"requests of all clients that may wait; writes half of it").in(1, 1_000_000).live(),
		row("fairness.queue_wait", 30*time.Millisecond, func(c *Config) *time.Duration { return &c.Fairness.QueueWait },
			"how long a read may wait before it is refused, a write half of it; a duration").span(time.Millisecond, time.Second).live(),
		row("fairness.rps_per_flow", 0, func(c *Config) *int { return &c.Fairness.RPSPerFlow },
			"requests a second of one client; 0 is no quota").in(0, 1_000_000_000).live(),
	}
}

func supervisorKeys() []Key {
	const tick, day = time.Millisecond, 24 * time.Hour
	return []Key{
		row("supervisor.backoff_min", 100*time.Millisecond, func(c *Config) *time.Duration { return &c.Supervisor.BackoffMin },
			"base of the full-jitter restart backoff; a duration").span(tick, time.Hour),
		row("supervisor.backoff_max", 5*time.Second, func(c *Config) *time.Duration { return &c.Supervisor.BackoffMax },
			"cap of the restart backoff; a duration").span(tick, time.Hour),
		row("supervisor.max_restarts", 5, func(c *Config) *int { return &c.Supervisor.MaxRestarts },
			"more restarts than this within window are a storm").in(1, 1_000_000),
		row("supervisor.window", time.Minute, func(c *Config) *time.Duration { return &c.Supervisor.Window },
			"over which restarts are counted; a duration").span(tick, day),
		row("supervisor.quarantine_after", 10, func(c *Config) *int { return &c.Supervisor.QuarantineAfter },
			"this many restarts within window are a quarantine; above max_restarts").in(2, 1_000_000),
		row("supervisor.forgive_after", time.Minute, func(c *Config) *time.Duration { return &c.Supervisor.ForgiveAfter },
			"healthy this long, an actor's restarts are forgotten; a duration").span(tick, day),
		row("supervisor.probe_after", time.Minute, func(c *Config) *time.Duration { return &c.Supervisor.ProbeAfter },
			"after this long a quarantined actor is tried once; a duration").span(tick, day),
		row("supervisor.watchdog", 2*time.Second, func(c *Config) *time.Duration { return &c.Supervisor.Watchdog },
			"an actor busy with one message for longer has hung; a duration").span(tick, time.Hour),
	}
}

// reservedKeys are the rest of contract §11: naming one asks for something that
// this build would not do.
func reservedKeys() []Key {
	return []Key{
		reserved("config_pubkey", typeString, "signed config", ""),
	}
}
