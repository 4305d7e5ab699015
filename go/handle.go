package xet

// #include "callbacks.h"
import "C"

import (
	"sync"
	"sync/atomic"
)

// owned is what the library makes, and what is freed.
type owned interface {
	*C.XetClient | *C.XetStorage | *C.XetGroup | *C.XetStream | *C.XetFile
}

// handle owns one of these, as the essay in ffi.go explains. Its methods take a nil handle for a closed
// one.
type handle[P owned] struct {
	mutex   sync.Mutex
	pointer P
	calls   int
	closed  bool
	// panics are those of the caller's functions that ran on goroutines of this package's, until a
	// call raises them.
	panics []*atomic.Pointer[thrown]
	// abandons: to close it also ends the calls inside, as nobody else might.
	abandons bool
	// freed, unless nil, is told when the pointer is gone.
	freed func()
}

func newHandle[P owned](pointer P) *handle[P] {
	nativeCreated()
	return &handle[P]{pointer: pointer}
}

// acquire returns the pointer for one call, which ends with release.
func (h *handle[P]) acquire() (P, error) {
	if h == nil {
		return nil, closedError(nameOf[P]())
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.closed {
		return nil, closedError(nameOf[P]())
	}
	h.calls++
	return h.pointer, nil
}

func (h *handle[P]) release() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.calls--
	h.freeIfUnused()
}

// call makes a call that neither waits nor calls back.
func (h *handle[P]) call(function func(P) *C.XetError) error {
	pointer, err := h.acquire()
	if err != nil {
		return err
	}
	defer h.release()
	stress()
	return takeError(function(pointer))
}

// close gives the pointer up. Never waits; closing twice is fine.
func (h *handle[P]) close() {
	if h == nil {
		return
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.closed = true
	h.freeIfUnused()
}

// end is close, and then has `cancel` end the calls that are still inside: they find the handle closed.
func (h *handle[P]) end(cancel func(P) *C.XetError) error {
	pointer, err := h.acquire()
	if err != nil {
		return nil // closed before
	}
	defer h.release()
	h.close()
	return takeError(cancel(pointer))
}

func (h *handle[P]) isClosed() bool {
	if h == nil {
		return true
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.closed
}

func (h *handle[P]) freeIfUnused() {
	if !h.closed || h.calls > 0 || h.pointer == nil {
		return
	}
	switch pointer := any(h.pointer).(type) {
	case *C.XetClient:
		C.xet_client_free(pointer)
	case *C.XetStorage:
		C.xet_storage_free(pointer)
	case *C.XetGroup:
		C.xet_group_free(pointer)
	case *C.XetStream:
		C.xet_stream_free(pointer)
	case *C.XetFile:
		C.xet_file_free(pointer)
	}
	h.pointer = nil
	nativeReleased()
	if h.freed != nil {
		h.freed()
	}
}

// nameOf says what a handle owns, for messages.
func nameOf[P owned]() string {
	var pointer P
	switch any(pointer).(type) {
	case *C.XetStorage:
		return "storage"
	case *C.XetGroup:
		return "group"
	case *C.XetStream:
		return "stream"
	case *C.XetFile:
		return "file"
	}
	return "client"
}
