package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"runtime/cgo"
)

// call is the Go side of a running call. The library uses it on the caller's goroutine alone.
type call struct {
	ctx      context.Context
	progress func(Progress)
	// reason is the context's error, once the library was told of it.
	reason error
	thrown *thrown
}

// thrown is a panic on its way around C.
type thrown struct{ value any }

// run makes a call into the library. `function` gets the client's pointer, and a number by which
// the callbacks find the call.
func (h *handle) run(
	ctx context.Context, repoID string, progress func(Progress),
	function func(*C.XetClient, C.uintptr_t) *C.XetError,
) error {
	if ctx == nil {
		return invalid("ctx", "is nil; use context.Background()")
	}
	client, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	if reason := ctx.Err(); reason != nil {
		return contextError(ctx, reason, repoID)
	}
	if err := followLogger(); err != nil {
		return err
	}
	c := &call{ctx: ctx, progress: progress}
	number := cgo.NewHandle(c)
	nativeCreated()
	defer nativeReleased()
	defer number.Delete()

	stress()
	err = takeError(function(client, C.uintptr_t(number)))
	stress()

	c.takeLogPanic()
	if c.thrown != nil {
		panic(c.thrown.value)
	}
	if failure, ok := err.(*Error); ok && failure.Code == CodeCancelled && c.reason != nil {
		return failure.endedBy(ctx, c.reason, repoID)
	}
	return err
}

// catch stops a panic of the callback that defers it, and keeps the first one.
func (c *call) catch() {
	if value := recover(); value != nil && c.thrown == nil {
		c.thrown = &thrown{value}
	}
}

// takeLogPanic makes a panic of the logger this call's own: see xetgoLog.
func (c *call) takeLogPanic() {
	// Taken even where the call has one already: the next call must not raise it.
	if value := logPanic.Swap(nil); c.thrown == nil {
		c.thrown = value
	}
}
