package xet

/*
#include <stdlib.h>
#include "xet.h"
*/
import "C"

import (
	"time"
	"unsafe"
)

// Deadlines says how long the requests of one call may take, where not as long as those of its
// client: 0 means the client's value. The fields are those of Config. For the call as a whole, use the
// context.
type Deadlines struct {
	ConnectTimeout   time.Duration
	FirstByteTimeout time.Duration
	ReadTimeout      time.Duration
	MinSpeed         int
}

// WithDeadlines gives a call deadlines of its own.
func WithDeadlines(deadlines Deadlines) Option {
	return func(r *request) { r.deadlines = deadlines }
}

// deadlines returns a C copy; NULL if there is nothing to say.
func (a *arena) deadlines(d Deadlines) *C.XetDeadlines {
	if d == (Deadlines{}) {
		return nil
	}
	native := (*C.XetDeadlines)(C.malloc(C.sizeof_XetDeadlines)) // panics rather than return NULL
	a.keep(unsafe.Pointer(native))
	*native = C.XetDeadlines{
		struct_size:           C.sizeof_XetDeadlines,
		connect_timeout_ms:    a.milliseconds("connect_timeout", d.ConnectTimeout),
		first_byte_timeout_ms: a.milliseconds("first_byte_timeout", d.FirstByteTimeout),
		read_timeout_ms:       a.milliseconds("read_timeout", d.ReadTimeout),
		min_speed:             a.count("min_speed", d.MinSpeed),
	}
	return native
}
