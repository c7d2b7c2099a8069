package actors

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	httpapi "micronode/http"
)

// Under load the access log keeps the first accessFirst lines of a second and
// route, then every accessThereafter-th. WARN and worse is never dropped.
const (
	accessFirst      = 100
	accessThereafter = 100
)

// NewLogger returns the node's logger: JSON lines with ts, level, service,
// event, reason, corr_id, or text for a terminal (contract §14). level is one
// of debug, info, warn, error.
func NewLogger(w io.Writer, level string, text bool) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, err
	}
	c := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", MessageKey: "msg",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.MillisDurationEncoder, LineEnding: zapcore.DefaultLineEnding,
	}
	enc := zapcore.NewJSONEncoder(c)
	if text {
		c.EncodeTime, c.EncodeLevel = zapcore.TimeEncoderOfLayout("15:04:05.000"), zapcore.CapitalLevelEncoder
		c.ConsoleSeparator = " "
		enc = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), at)), nil
}

// accessLog returns a function that writes one line for a request.
func accessLog(log *zap.Logger) func(httpapi.Exchange) {
	sampled := log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, accessFirst, accessThereafter)
	}))
	return func(x httpapi.Exchange) {
		c := sampled.Check(zapcore.InfoLevel, x.Method+" "+x.Route)
		if c == nil {
			return
		}
		fields := []zap.Field{
			zap.String("event", "request"), zap.Int("status", x.Status), zap.String("corr_id", x.CorrID),
			zap.Float64("latency_ms", float64(x.Duration.Microseconds())/1000),
			zap.Int64("bytes_in", x.BytesIn), zap.Int64("bytes_out", x.BytesOut), zap.String("plane", x.Plane),
		}
		if x.Reason != "" {
			fields = append(fields, zap.String("reason", x.Reason))
		}
		if x.TraceID != "" {
			fields = append(fields, zap.String("trace_id", x.TraceID))
		}
		if x.Aborted {
			fields = append(fields, zap.Bool("aborted", true))
		}
		c.Write(fields...)
	}
}
