package xet

// #include "callbacks.h"
import "C"

import "sync"

// handle owns a C client, as the essay in ffi.go explains. Its methods take a nil handle for a
// closed one.
type handle struct {
	mutex  sync.Mutex
	client *C.XetClient
	calls  int
	closed bool
}

func newHandle(client *C.XetClient) *handle {
	nativeCreated()
	return &handle{client: client}
}

// acquire returns the client for one call, which ends with release.
func (h *handle) acquire() (*C.XetClient, error) {
	if h == nil {
		return nil, closedError()
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.closed {
		return nil, closedError()
	}
	h.calls++
	return h.client, nil
}

func (h *handle) release() {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.calls--
	h.freeIfUnused()
}

// close gives the client up. Never waits; closing twice is fine.
func (h *handle) close() {
	if h == nil {
		return
	}
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.closed = true
	h.freeIfUnused()
}

func (h *handle) freeIfUnused() {
	if h.closed && h.calls == 0 && h.client != nil {
		C.xet_client_free(h.client)
		h.client = nil
		nativeReleased()
	}
}
