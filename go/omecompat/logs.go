package omecompat

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// Logger is what logs can be sent to. OME's logging.Interface is one, and so is *zap.SugaredLogger.
type Logger interface {
	Debugf(format string, args ...interface{})
	Infof(format string, args ...interface{})
	Warnf(format string, args ...interface{})
	Errorf(format string, args ...interface{})
}

var levels = map[string]slog.Level{
	"error": slog.LevelError,
	"warn":  slog.LevelWarn,
	"info":  slog.LevelInfo,
	"debug": slog.LevelDebug,
	"trace": xet.LevelTrace,
}

// logs is where the library's records go, in the whole process.
var logs struct {
	level  slog.LevelVar
	named  atomic.Bool // whether somebody has named a level
	logger atomic.Pointer[Logger]
}

func init() { logs.level.Set(slog.LevelWarn) }

// SetLogLevel says which of the library's records are logged, in the whole process: "error", "warn",
// "info", "debug" or "trace" and what is more important. Another word is taken for "info", and logged.
func SetLogLevel(level string) {
	known, ok := levels[strings.ToLower(level)]
	if !ok {
		known = slog.LevelInfo
	}
	logs.level.Set(known)
	logs.named.Store(true)
	if !ok {
		warn("not a log level: "+level, "instead", "info")
	}
}

// install sends the library's records here, once: a program that calls xet.SetLogger later has them.
var install = sync.OnceValue(func() error { return xet.SetLogger(slog.New(records{})) })

// followLogs does what a configuration says about logs; empty and nil: nothing.
func followLogs(level string, logger Logger) error {
	if level != "" {
		if _, ok := levels[strings.ToLower(level)]; !ok {
			return invalid("log_level", fmt.Sprintf("must be error, warn, info, debug or trace, not %q", level))
		}
		SetLogLevel(level)
	}
	if logger != nil {
		logs.logger.Store(&logger)
	}
	if os.Getenv("RUST_LOG") != "" && !logs.named.Load() && logs.logger.Load() == nil {
		return nil // the library writes them to stderr by itself
	}
	return convert(install())
}

// warn logs something that happened in this package.
func warn(message string, args ...any) { slog.New(records{}).Warn(message, args...) }

// stderr is where records go while no configuration has named a logger.
var stderr = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: xet.LevelTrace})

// records is the slog.Handler that writes to the Logger.
type records struct{ attrs []slog.Attr }

func (records) Enabled(_ context.Context, level slog.Level) bool { return level >= logs.level.Level() }

func (r records) Handle(ctx context.Context, record slog.Record) error {
	record = record.Clone()
	record.AddAttrs(r.attrs...)
	logger := logs.logger.Load()
	if logger == nil {
		return stderr.Handle(ctx, record)
	}
	var text strings.Builder
	text.WriteString(record.Message)
	record.Attrs(func(attr slog.Attr) bool {
		fmt.Fprintf(&text, " %s=%v", attr.Key, attr.Value)
		return true
	})
	write := (*logger).Debugf
	switch {
	case record.Level >= slog.LevelError:
		write = (*logger).Errorf
	case record.Level >= slog.LevelWarn:
		write = (*logger).Warnf
	case record.Level >= slog.LevelInfo:
		write = (*logger).Infof
	}
	write("%s", text.String())
	return nil
}

func (r records) WithAttrs(attrs []slog.Attr) slog.Handler {
	return records{append(r.attrs[:len(r.attrs):len(r.attrs)], attrs...)}
}

// WithGroup is never called: neither the library nor warn groups what it logs.
func (r records) WithGroup(string) slog.Handler { return r }
