package xet

/*
#include <stdlib.h>
#include "callbacks.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"runtime/cgo"
	"strings"
	"time"
	"unsafe"
)

// stream reads from a reader of the caller's, on a goroutine of its own: a Read may block for as
// long as it likes, and the thread of the call still reports, and ends when its context does.
//
// The goroutine reads only what was asked for, and only when it was. So there is a Read at work after
// the call only if the call ended during that very Read. It reads into memory of Go, because the
// library's buffer is gone by then.
type stream struct {
	reader io.Reader
	// call is the one that reads.
	call *call

	// What follows is for the thread of the call alone.

	// wanted asks the goroutine for so many bytes; it is closed when the call is over. nil: there is no
	// goroutine yet.
	wanted chan int
	// found brings the answer. It has room for one, so that the goroutine never waits with it.
	found chan found
	// reading: asked, and not answered yet.
	reading bool
	// left is what was read and not handed over yet.
	left []byte
	// err is what ended the stream, io.EOF included.
	err error
}

// found is what came of a Read.
type found struct {
	data   []byte
	err    error
	thrown *thrown
}

// A reader that gives nothing so many times will never give anything.
const maxEmptyReads = 100

// patience is how long the thread of a call waits for a reader before the library looks at other
// things; it allows 20 ms.
const patience = 10 * time.Millisecond

var errGoexit = errors.New("the reader ended its goroutine (runtime.Goexit, testing.T.FailNow)")

// read is XetReadCallback.
func (s *stream) read(buffer []byte) C.int64_t {
	if len(s.left) == 0 && s.err == nil && !s.wait(len(buffer)) {
		if s.call.over() {
			return C.XET_READ_CANCEL
		}
		return C.XET_READ_AGAIN
	}
	n := copy(buffer, s.left)
	s.left = s.left[n:]
	switch {
	case n > 0 || s.err == io.EOF:
		return C.int64_t(n)
	case s.call.thrown != nil:
		return C.XET_READ_CANCEL
	}
	reason := C.CString(printable(s.err))
	defer C.free(unsafe.Pointer(reason))
	return C.xet_read_fail(reason)
}

// printable returns the text of an error of the caller's, as C can take it.
func printable(err error) string {
	return strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "\uFFFD"), "\x00", "\uFFFD")
}

// wait waits for what a Read finds, but not for long: it says whether something has come.
func (s *stream) wait(length int) bool {
	if s.wanted == nil {
		s.wanted, s.found = make(chan int), make(chan found, 1)
		go serve(s.reader, s.wanted, s.found)
	}
	if !s.reading {
		s.reading = true
		s.wanted <- length
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case answer := <-s.found:
		s.reading = false
		s.left, s.err = answer.data, answer.err
		if answer.thrown != nil {
			s.call.thrown = answer.thrown
		}
		return true
	case <-s.call.ctx.Done():
	case <-timer.C:
	}
	return false
}

// close lets the goroutine go, at once or when its Read has returned.
func (s *stream) close() {
	if s.wanted != nil {
		close(s.wanted)
	}
}

// serve is the goroutine.
func serve(reader io.Reader, wanted <-chan int, answers chan found) {
	var buffer []byte
	for length := range wanted {
		if len(buffer) < length {
			buffer = make([]byte, length)
		}
		answer(reader, buffer[:length], answers)
	}
	// A panic that came when the call was over has nobody else to go to.
	select {
	case last := <-answers:
		if l := logger.Load(); l != nil && last.thrown != nil {
			l.Error("a reader panicked after the call that read from it", "panic", last.thrown.value)
		}
	default:
	}
}

// answer reads once and says what came of it, also where the reader panics or ends the goroutine.
func answer(reader io.Reader, buffer []byte, answers chan<- found) {
	outcome := found{err: errGoexit}
	defer func() {
		if value := recover(); value != nil {
			outcome.thrown = &thrown{value}
		}
		answers <- outcome
	}()
	outcome.data, outcome.err = readSome(reader, buffer)
}

// readSome returns at least one byte, or an error, or both.
func readSome(reader io.Reader, buffer []byte) ([]byte, error) {
	for range maxEmptyReads {
		n, err := reader.Read(buffer)
		if n < 0 || n > len(buffer) {
			return nil, fmt.Errorf("the reader says that it has read %d of %d bytes", n, len(buffer))
		}
		if n > 0 || err != nil {
			return buffer[:n], err
		}
	}
	return nil, io.ErrNoProgress
}

// failure returns the error of the first stream that broke.
func failure(streams []*stream) error {
	for _, s := range streams {
		if s.err != nil && s.err != io.EOF {
			return s.err
		}
	}
	return nil
}

//export xetgoRead
func xetgoRead(buffer *C.uint8_t, length C.size_t, number C.uintptr_t) (n C.int64_t) {
	s := cgo.Handle(number).Value().(*stream)
	// A context whose methods panic ends the call as a reader does.
	n = C.XET_READ_CANCEL
	defer s.call.catch()
	stress()
	return s.read(unsafe.Slice((*byte)(unsafe.Pointer(buffer)), int(length)))
}
