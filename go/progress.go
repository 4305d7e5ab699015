package xet

// #include "callbacks.h"
import "C"

import "runtime/cgo"

// Phase is what a transfer is doing. PhaseHashing, PhaseUploading and PhaseCommitting are those of
// uploads, after PhaseScanning.
type Phase int

// Progress says how far a transfer is. Numbers never shrink within one call, but for
// RateLimitedSeconds.
type Progress struct {
	Phase Phase
	// BytesTotal is that of all files of the call; 0 until the listing is known.
	BytesTotal int64
	// BytesCompleted counts verified bytes: those found on this machine and those received. Of an
	// upload: read and processed.
	BytesCompleted int64
	// BytesNetwork counts what was received as file content, as sent (compressed or not). Of an
	// upload: sent, for Xet files before compression.
	BytesNetwork int64
	// BytesReused counts what was taken from files on this machine. Of an upload: files that the
	// Hub has already.
	BytesReused    int64
	FilesTotal     int
	FilesCompleted int
	// File is the file that moved last, relative to the repo; empty if none has begun.
	File               string
	FileBytesCompleted int64
	FileBytesTotal     int64
	// RateLimitedSeconds counts the seconds until the first request is made that waits since a server
	// limits them (HTTP 429, or 503 with a time); 0: none does.
	RateLimitedSeconds int64
}

// over says whether the call is to end: because of its context, of a panic, or of a Close.
func (c *call) over() bool {
	c.takePanics()
	c.reason = c.ctx.Err()
	return c.reason != nil || c.thrown != nil || (c.abandoned != nil && c.abandoned())
}

//export xetgoProgress
func xetgoProgress(number C.uintptr_t, progress *C.XetProgress) {
	c := cgo.Handle(number).Value().(*call)
	defer c.catch()
	stress()
	if c.thrown == nil {
		c.progress(newProgress(progress))
	}
}

//export xetgoCancel
func xetgoCancel(number C.uintptr_t) (stop C.bool) {
	c := cgo.Handle(number).Value().(*call)
	// A context is an interface, so its methods may be the caller's, and panic.
	defer func() { stop = stop || c.thrown != nil }()
	defer c.catch()
	stress()
	return C.bool(c.over())
}
