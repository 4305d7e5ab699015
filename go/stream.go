package xet

// #include "callbacks.h"
import "C"

import (
	"errors"
	"io"
	"runtime/cgo"
	"unsafe"
)

// stream is a reader of the caller's that the library reads from, on the caller's goroutine.
type stream struct {
	reader io.Reader
	// err is what ended it, io.EOF included.
	err error
	// call is the one that reads.
	call *call
}

// A reader that gives nothing so many times will never give anything.
const maxEmptyReads = 100

// read reads up to len(buffer) bytes; 0 at the end, -1 after an error.
func (s *stream) read(buffer []byte) int {
	for range maxEmptyReads {
		if s.err != nil {
			break
		}
		var n int
		n, s.err = s.reader.Read(buffer)
		if n > 0 {
			return n
		}
	}
	switch s.err {
	case io.EOF:
		return 0
	case nil:
		s.err = io.ErrNoProgress
	}
	return -1
}

// failure returns the error of the first stream that broke.
func failure(streams []*stream) error {
	for _, s := range streams {
		if s.err != nil && !errors.Is(s.err, io.EOF) {
			return s.err
		}
	}
	return nil
}

//export xetgoRead
func xetgoRead(buffer *C.uint8_t, length C.size_t, number C.uintptr_t) (n C.int64_t) {
	s := cgo.Handle(number).Value().(*stream)
	// A reader that panics ends the call as one that fails.
	n = -1
	defer s.call.catch()
	stress()
	return C.int64_t(s.read(unsafe.Slice((*byte)(unsafe.Pointer(buffer)), int(length))))
}
