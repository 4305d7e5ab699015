package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"math"
	"runtime/cgo"
	"sync/atomic"
	"time"
)

// call is the Go side of a running call. The library uses it on the caller's goroutine alone.
type call struct {
	ctx      context.Context
	progress func(Progress)
	// reason is the context's error, once the library was told of it.
	reason error
	thrown *thrown
	// abandoned, unless nil, says whether what the call is about was closed, which ends the call.
	abandoned func() bool
	// panics are where those of other goroutines are kept for this call, beside the logger's.
	panics []*atomic.Pointer[thrown]
}

// grace is how much later than its context the library would end a call by itself. The context comes
// first, so that it is its error that the call ends with.
const grace = time.Second

// timeout tells the library in milliseconds when the context ends; 0: it doesn't. What a server wants
// to be left alone for until later isn't waited for then.
func timeout(ctx context.Context) C.uint32_t {
	if ctx == nil {
		return 0 // refused by run
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	left := max(time.Until(deadline), 0) + grace
	if left.Milliseconds() > math.MaxUint32 {
		return 0
	}
	return C.uint32_t(left.Milliseconds())
}

// thrown is a panic on its way around C.
type thrown struct{ value any }

// run makes a call into the library. `function` gets the handle's pointer, and a number by which
// the callbacks find the call. A repoID of "" is that of a call about no repo.
func (h *handle[P]) run(
	ctx context.Context, repoID string, progress func(Progress),
	function func(P, C.uintptr_t) *C.XetError,
) error {
	if ctx == nil {
		return invalid("ctx", "is nil; use context.Background()")
	}
	pointer, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	if reason := ctx.Err(); reason != nil {
		return contextError(ctx, reason, repoID)
	}
	return h.enter(ctx, repoID, progress, pointer, function)
}

// enter is run with a pointer that was acquired, also where the context is over: the library is told so.
func (h *handle[P]) enter(
	ctx context.Context, repoID string, progress func(Progress),
	pointer P, function func(P, C.uintptr_t) *C.XetError,
) error {
	if err := followLogger(); err != nil {
		return err
	}
	c := &call{ctx: ctx, progress: progress, panics: h.panics}
	if h.abandons {
		c.abandoned = h.isClosed
	}
	number := cgo.NewHandle(c)
	nativeCreated()
	defer nativeReleased()
	defer number.Delete()

	stress()
	err := takeError(function(pointer, C.uintptr_t(number)))
	stress()

	c.takePanics()
	if c.thrown != nil {
		panic(c.thrown.value)
	}
	failure, ok := err.(*Error)
	switch cancelled := ok && failure.Code == CodeCancelled; {
	case cancelled && c.reason != nil:
		return failure.endedBy(ctx, c.reason, repoID)
	case cancelled && c.abandoned != nil && c.abandoned():
		return closedError(nameOf[P]())
	}
	return err
}

// catch stops a panic of the callback that defers it, and keeps the first one.
func (c *call) catch() {
	if value := recover(); value != nil && c.thrown == nil {
		c.thrown = &thrown{value}
	}
}

// logUnraised logs a panic that no call has raised, and none will.
func logUnraised(what string, kept *atomic.Pointer[thrown]) {
	last := kept.Swap(nil)
	if l := logger.Load(); l != nil && last != nil {
		l.Error(what, "panic", last.value)
	}
}

// takePanics makes a panic of the logger (see xetgoLog), or of another goroutine, this call's own.
func (c *call) takePanics() {
	// Taken even where the call has one already: the next call must not raise it.
	take := func(kept *atomic.Pointer[thrown]) {
		if value := kept.Swap(nil); c.thrown == nil {
			c.thrown = value
		}
	}
	take(&logPanic)
	for _, kept := range c.panics {
		take(kept)
	}
}
