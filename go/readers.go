package xet

// #include "callbacks.h"
import "C"

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// readAtOnce is the most that a reader is asked for at a time.
const readAtOnce = 256 << 10

// readers read for a group of uploads, each on a goroutine, which doesn't keep the Group from the
// garbage collector.
type readers struct {
	handle *handle[*C.XetGroup]
	// thrown is a panic of a reader, until a call raises it.
	thrown atomic.Pointer[thrown]

	mutex sync.Mutex
	// reading says how many there are. The library must not know that nothing is to be added before
	// they are done: it takes a stream that isn't ended for a failed one.
	reading int
	// sealed: somebody waits, so nothing is to be added.
	sealed bool
	// broken has the errors of tasks that were cancelled as their readers broke.
	broken map[int64]error
}

func newReaders(h *handle[*C.XetGroup]) *readers {
	return &readers{handle: h, broken: make(map[int64]error)}
}

func (r *readers) isSealed() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.sealed
}

// seal says that nothing is to be added.
func (r *readers) seal() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.sealed = true
	return r.closeIfDone()
}

// begin makes room for one more, which ends with done.
func (r *readers) begin() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.sealed {
		return groupIsSealed()
	}
	r.reading++
	return nil
}

func (r *readers) done() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.reading--
	logUnlessClosed(r.closeIfDone())
}

func (r *readers) closeIfDone() error {
	if !r.sealed || r.reading > 0 {
		return nil
	}
	return r.handle.call(func(group *C.XetGroup) *C.XetError { return C.xet_group_close(group) })
}

func groupIsSealed() *Error {
	return invalid("group", "is closed: nothing can be added to it any more")
}

// read is the goroutine.
func (r *readers) read(task int64, name string, reader io.Reader) {
	defer r.done()
	failed := readFailed(task, name, errGoexit)
	defer func() {
		if value := recover(); value != nil {
			r.thrown.CompareAndSwap(nil, &thrown{value})
			failed = readFailed(task, name, fmt.Errorf("it panicked: %v", value))
		}
		if failed != nil {
			r.giveUp(task, failed)
		}
	}()
	failed = r.copy(task, name, reader)
}

// copy writes what a reader gives.
func (r *readers) copy(task int64, name string, reader io.Reader) error {
	buffer := make([]byte, readAtOnce)
	for {
		data, failed := readSome(reader, buffer)
		if len(data) > 0 {
			if _, err := write(r.handle, task, data); err != nil {
				return err
			}
		}
		switch failed {
		case nil:
		case io.EOF:
			return end(r.handle, task)
		default:
			return readFailed(task, name, failed)
		}
	}
}

// giveUp cancels a task that lacks bytes. If it was cancelled before, or its group, there is nothing to
// explain.
func (r *readers) giveUp(task int64, err error) {
	if errors.Is(err, ErrCancelled) || errors.Is(err, ErrClosed) {
		return
	}
	r.mutex.Lock()
	r.broken[task] = err
	r.mutex.Unlock()
	logUnlessClosed(r.handle.call(func(group *C.XetGroup) *C.XetError {
		return C.xet_group_cancel(group, C.uint64_t(task))
	}))
}

// explain says whether a task was given up, which then is a failed one.
func (r *readers) explain(task *GroupTask) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	err := r.broken[task.Task]
	if err == nil || task.State != TaskStateCancelled {
		return false
	}
	task.State, task.Err = TaskStateFailed, err
	return true
}

// logPanic says what no call will raise any more.
func (r *readers) logPanic() {
	logUnraised("a reader panicked after the group that read from it", &r.thrown)
}

func readFailed(task int64, name string, cause error) error {
	subject := name
	if subject == "" {
		subject = fmt.Sprintf("task %d", task)
	}
	return &Error{
		Code:    CodeIOError,
		Message: fmt.Sprintf("%s: the reader broke: %s", subject, printable(cause)),
		Details: Details{Kind: kindReadFailed, File: name},
		causes:  []error{cause},
	}
}

// logUnlessClosed logs an error that no call is there to return. Of a closed group nobody wants more.
func logUnlessClosed(err error) {
	if l := logger.Load(); l != nil && err != nil && !errors.Is(err, ErrClosed) {
		l.Error("a group of uploads can't be ended", "error", err)
	}
}
