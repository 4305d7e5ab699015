package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// LevelTrace is the level of the library's most detailed records, below slog.LevelDebug.
const LevelTrace = slog.Level(-8)

// The library's levels, most important first, by XET_LOG_*.
var levels = [...]struct {
	native C.int32_t
	level  slog.Level
}{
	{C.XET_LOG_ERROR, slog.LevelError},
	{C.XET_LOG_WARN, slog.LevelWarn},
	{C.XET_LOG_INFO, slog.LevelInfo},
	{C.XET_LOG_DEBUG, slog.LevelDebug},
	{C.XET_LOG_TRACE, LevelTrace},
}

var (
	// logger is where records go; nil: nowhere.
	logger atomic.Pointer[slog.Logger]
	// logPanic is a panic of the logger's handler, until a call raises it.
	logPanic atomic.Pointer[thrown]

	// registration guards the library's log callback, and logLevel, which it was registered for.
	registration sync.Mutex
	logLevel     C.int32_t
)

// SetLogger sends the library's logs to a logger, for the whole process. Records have an attribute
// "target", the module that they come from; they never hold a token. Which levels the library
// formats at all follows from what the logger has enabled when a call begins. With nil, logs go
// nowhere (or to stderr, if RUST_LOG is set), as they do before the first SetLogger.
//
// When SetLogger returns, the previous logger isn't used any more. It must not be called by a handler
// of the logger. If a handler panics, a running or the next call panics for it.
func SetLogger(l *slog.Logger) error {
	if err := checkABI(); err != nil {
		return err
	}
	registration.Lock()
	defer registration.Unlock()
	logger.Store(l)
	logLevel = levelOf(l)
	return takeError(C.xetgo_set_log_callback(l != nil, logLevel))
}

// followLogger tells the library the logger's level, since slog doesn't announce its changes.
func followLogger() error {
	l := logger.Load()
	// If another goroutine is at it, the level is being seen to.
	if l == nil || !registration.TryLock() {
		return nil
	}
	defer registration.Unlock()
	level := levelOf(l)
	if level == logLevel || logger.Load() != l {
		return nil
	}
	if err := takeError(C.xetgo_set_log_callback(true, level)); err != nil {
		return err
	}
	logLevel = level
	return nil
}

// levelOf returns the least important XET_LOG_* that a logger wants.
func levelOf(l *slog.Logger) C.int32_t {
	wanted := C.int32_t(C.XET_LOG_OFF)
	if l == nil {
		return wanted
	}
	for _, known := range levels {
		if l.Enabled(context.Background(), known.level) {
			wanted = known.native
		}
	}
	return wanted
}

//export xetgoLog
func xetgoLog(native C.int32_t, target, message *C.char) {
	// There is no telling which call this thread is in, so the panic waits for one that asks.
	defer func() {
		if value := recover(); value != nil {
			logPanic.CompareAndSwap(nil, &thrown{value})
		}
	}()
	stress()
	l := logger.Load()
	if l == nil {
		return
	}
	level := LevelTrace
	for _, known := range levels {
		if known.native == native {
			level = known.level
		}
	}
	ctx := context.Background()
	if !l.Enabled(ctx, level) {
		return
	}
	// Not l.Log: it would name a line of this file as the source.
	record := slog.NewRecord(time.Now(), level, C.GoString(message), 0)
	record.AddAttrs(slog.String("target", C.GoString(target)))
	// As slog does itself: a handler that can't write has nobody to tell.
	_ = l.Handler().Handle(ctx, record)
}
