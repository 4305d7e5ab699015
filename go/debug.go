//go:build xet_debug

package xet

import (
	"runtime"
	"sync/atomic"
)

// natives counts what lives in C memory or in cgo's table of handles on behalf of Go.
var natives atomic.Int64

func nativeCreated()  { natives.Add(1) }
func nativeReleased() { natives.Add(-1) }

// stress collects garbage at the borders of each call, so that what is kept alive by luck alone
// isn't.
func stress() { runtime.GC() }
