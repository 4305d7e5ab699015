package xet

/*
#include <stdlib.h>
#include "callbacks.h"
*/
import "C"

import (
	"math"
	"strings"
	"time"
	"unsafe"
)

// arena holds the C copies of a call's arguments until free. The first argument that C can't
// take is remembered in err; the caller looks there once, after the last argument.
type arena struct {
	blocks []unsafe.Pointer
	err    error
}

// text returns a C copy of s. An empty string is NULL, which means "default".
func (a *arena) text(field, s string) *C.char {
	if s == "" {
		return nil
	}
	return a.given(field, s)
}

// given returns a C copy of s, even of an empty one.
func (a *arena) given(field, s string) *C.char {
	if strings.IndexByte(s, 0) >= 0 {
		a.refuse(field, "holds a NUL character")
		return nil
	}
	c := C.CString(s)
	a.keep(unsafe.Pointer(c))
	return c
}

// texts returns a C array of copies. No slice is NULL, an empty one is not: to the library, the
// first means "default" and the second "nothing".
func (a *arena) texts(field string, list []string) (**C.char, C.size_t) {
	if list == nil {
		return nil, 0
	}
	// One more than needed: a block of size 0 could be NULL.
	size := C.size_t(len(list)+1) * C.size_t(unsafe.Sizeof((*C.char)(nil)))
	block := (**C.char)(C.malloc(size)) // cgo's malloc panics rather than return NULL
	a.keep(unsafe.Pointer(block))
	array := unsafe.Slice(block, len(list)+1)
	for i, s := range list {
		array[i] = a.given(field, s)
	}
	array[len(list)] = nil
	return block, C.size_t(len(list))
}

// block returns zeroed C memory of at least one byte.
func (a *arena) block(size uintptr) unsafe.Pointer {
	block := C.calloc(1, C.size_t(max(size, 1)))
	if block == nil {
		panic("xet: out of memory")
	}
	a.keep(block)
	return block
}

// count returns a number that may be 0, for "default".
func (a *arena) count(field string, n int) C.uint32_t {
	if n < 0 || int64(n) > math.MaxUint32 {
		a.refuse(field, "is out of range")
		return 0
	}
	return C.uint32_t(n)
}

// bytes returns a number of bytes that may be 0, for "default".
func (a *arena) bytes(field string, n int64) C.uint64_t {
	if n < 0 {
		a.refuse(field, "is negative")
		return 0
	}
	return C.uint64_t(n)
}

// milliseconds rounds up, so that no wait becomes 0, which means "default".
func (a *arena) milliseconds(field string, d time.Duration) C.uint32_t {
	const most = math.MaxUint32 * time.Millisecond
	if d < 0 || d > most {
		a.refuse(field, "must be at least 0 and at most "+most.String())
		return 0
	}
	return C.uint32_t((d + time.Millisecond - 1) / time.Millisecond)
}

func (a *arena) refuse(field, problem string) {
	if a.err == nil {
		a.err = invalid(field, problem)
	}
}

func (a *arena) keep(block unsafe.Pointer) {
	nativeCreated()
	a.blocks = append(a.blocks, block)
}

func (a *arena) free() {
	for _, block := range a.blocks {
		C.free(block)
		nativeReleased()
	}
	a.blocks = nil
}
