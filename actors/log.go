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
	return zap.New(zapcore.NewCore(encoder(text), zapcore.Lock(zapcore.AddSync(w)), at)), nil
}

// OpenLog is NewLogger for a writer that may block, such as a pipe that nobody
// reads. The logger never waits for it: lines that do not fit into logBacklog are
// lost and counted in a line of their own. end writes what is left, which may
// block as long as w does, and ends the log's goroutine.
func OpenLog(w io.Writer, level string, text bool) (log *zap.Logger, end func(), err error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, nil, err
	}
	enc := encoder(text)
	out := openBacklog(w, func(lost int64) []byte {
		line, err := enc.EncodeEntry(zapcore.Entry{
			Level: zapcore.WarnLevel, Time: time.Now(), Message: "lines of the log are lost: whoever reads it was too slow",
		}, []zapcore.Field{zap.String("event", "log_lost"), zap.Int64("lost", lost)})
		if err != nil {
			return nil
		}
		return line.Bytes()
	})
	return zap.New(zapcore.NewCore(enc, zapcore.AddSync(out), at)), out.end, nil
}

// encoder writes a line of JSON, or of text.
func encoder(text bool) zapcore.Encoder {
	c := zapcore.EncoderConfig{
		TimeKey: "ts", LevelKey: "level", MessageKey: "msg",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.MillisDurationEncoder, LineEnding: zapcore.DefaultLineEnding,
	}
	if text {
		c.EncodeTime, c.EncodeLevel = zapcore.TimeEncoderOfLayout("15:04:05.000"), zapcore.CapitalLevelEncoder
		c.ConsoleSeparator = " "
		return printable{zapcore.NewConsoleEncoder(c)}
	}
	return printable{zapcore.NewJSONEncoder(c)}
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
