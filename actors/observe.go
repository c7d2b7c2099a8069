package actors

import (
	"strconv"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	httpapi "micronode/http"
	"micronode/kernel"
)

// observe attaches the log to the bus. Metrics read the ledger itself, so a
// lost event can not falsify a count.
func (n *Node) observe() {
	n.observed = append(n.observed, n.bus.Subscribe(kernel.Query{}).Handle((&eventLog{log: n.log}).write))
}

// eventLog writes the bus to the log, on the one goroutine of its
// subscription.
type eventLog struct {
	log  *zap.Logger
	last string // the readiness that was logged last
}

// write writes one event as one line.
func (l *eventLog) write(e kernel.Event, lag uint64) {
	if lag > 0 {
		l.log.Warn("the log lost events of the bus", zap.String("event", "bus_lagged"), zap.Uint64("lost", lag))
	}
	fields := []zap.Field{zap.String("event", e.Kind), zap.Uint64("seq", e.Seq)}
	if e.Service != "" {
		fields = append(fields, zap.String("service", e.Service))
	}
	if e.CorrID != "" {
		fields = append(fields, zap.String("corr_id", e.CorrID))
	}
	level := zapcore.InfoLevel
	switch d := e.Data.(type) {
	case kernel.CrashData:
		level = zapcore.ErrorLevel
		fields = append(fields, zap.String("reason", d.Reason), zap.Int64("restarts", d.Restarts),
			zap.Int64("delay_ms", d.DelayMS), zap.String("state", d.State))
		if d.Stack != "" {
			fields = append(fields, zap.String("stack", d.Stack))
		}
	case kernel.StormData:
		level = zapcore.ErrorLevel
		fields = append(fields, zap.Int("recent", d.Recent), zap.Int64("delay_ms", d.DelayMS), zap.String("next", d.Next))
	case kernel.FaultData:
		level = zapcore.ErrorLevel
		fields = append(fields, zap.String("reason", d.What), zap.String("stack", d.Stack))
	case kernel.HealthData:
		level = zapcore.DebugLevel
		fields = append(fields, zap.Bool("ok", d.OK), zap.String("state", d.State))
	case kernel.ReadyData:
		level = l.readyLevel(describe(e))
		fields = append(fields, zap.Bool("ready", d.Ready), zap.Bool("degraded", d.Degraded), zap.Strings("missing", d.Missing))
	case damageData:
		level = zapcore.ErrorLevel
		fields = append(fields, zap.Any("data", d))
	case diskData:
		if d.Detail != "" {
			level = zapcore.ErrorLevel
		}
		fields = append(fields, zap.Any("data", d))
	case drainCut:
		level = zapcore.WarnLevel
		fields = append(fields, zap.Int64("requests", d.Requests), zap.String("reason", d.Reason))
	case nil:
	default:
		fields = append(fields, zap.Any("data", d))
	}
	if c := l.log.Check(level, describe(e)); c != nil {
		c.Write(fields...)
	}
}

// readyLevel shows a change of the state; a change of what is missing alone is
// for those who debug.
func (l *eventLog) readyLevel(state string) zapcore.Level {
	defer func() { l.last = state }()
	switch state {
	case l.last:
		return zapcore.DebugLevel
	case "ready":
		return zapcore.InfoLevel
	default:
		return zapcore.WarnLevel
	}
}

// describe is the line's message: words for a person who reads only that.
func describe(e kernel.Event) string {
	switch d := e.Data.(type) {
	case kernel.CrashData:
		return e.Service + " crashed: " + d.Reason
	case kernel.ReadyData:
		switch {
		case !d.Ready:
			return "not ready"
		case d.Degraded:
			return "degraded"
		default:
			return "ready"
		}
	}
	return e.Kind
}

// observer listens at the door.
func (n *Node) observer() httpapi.Observer {
	access := accessLog(n.log)
	return httpapi.Observer{
		Request: func(x httpapi.Exchange) {
			n.metrics.exchange(x)
			access(x)
		},
		Rejected: func(reason string) { n.metrics.rejected.WithLabelValues(reason).Inc() },
		Audit:    n.audit,
		Denied:   n.denied,
		AuthFail: func(reason string) { n.metrics.authFail.WithLabelValues(reason).Inc() },
		Handshake: func(h httpapi.Handshake) {
			switch {
			case h.Failure != "":
				n.metrics.tlsFail.WithLabelValues(h.Failure).Inc()
			default:
				n.metrics.tlsDone.WithLabelValues(h.Group).Inc()
			}
			if h.Downgrade {
				n.metrics.downgrade.Inc()
			}
		},
		Panic: func(v any, stack []byte, corrID string) {
			n.log.Error("a request failed in a way nobody foresaw", zap.String("event", "request_panic"),
				zap.Any("reason", v), zap.ByteString("stack", stack), zap.String("corr_id", corrID))
		},
		Log: func(line string) {
			n.log.Debug(line, zap.String("event", "net_http"))
		},
	}
}

// audit shows every order to change the node on the bus, and so in the log
// (contract §4).
func (n *Node) audit(a httpapi.AuditRecord) {
	n.bus.Publish(kernel.Event{Topic: topic("audit"), Kind: "Audit", Service: a.Service, CorrID: a.CorrID, Data: auditData{
		Action: a.Action, Actor: a.Actor, Target: a.Target, Policy: a.Policy, Reason: a.Reason, Outcome: a.Outcome,
	}})
	if a.Action == "cap_revoke" && a.Outcome == "ok" {
		n.bus.Publish(kernel.Event{Topic: topic("audit"), Kind: "CapRevoked", CorrID: a.CorrID, Data: struct {
			Target string `json:"target"`
		}{a.Target}})
	}
}

type auditData struct {
	Action  string `json:"action"`
	Actor   string `json:"actor"`
	Target  string `json:"target,omitempty"` // cap id or kid
	Policy  string `json:"policy,omitempty"` // ids of those that decided
	Reason  string `json:"reason,omitempty"`
	Outcome string `json:"outcome"`
}

func statusText(code int) string { return strconv.Itoa(code) }
