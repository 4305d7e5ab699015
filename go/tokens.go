package xet

/*
#include <stdlib.h>
#include "callbacks.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/cgo"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// TokenFunc returns a token of Xet storage, and its end; the zero Time: it has none. It is asked while
// a goroutine waits for work of its storage, once at a time, and may block: it runs on a goroutine of
// its own. Its context ends after two minutes, and when the storage and all that was begun with it is
// closed. Its error is what the error of what needed the token wraps, which is ErrAuthFailed and shows
// its text: it must not hold secrets.
type TokenFunc func(ctx context.Context) (token string, expires time.Time, err error)

const (
	// kindTokenCallback is the kind of an error that a TokenFunc has caused.
	kindTokenCallback = "token_callback"
	// longestQuestion is how long a TokenFunc may take.
	longestQuestion = 2 * time.Minute
	// unclaimed is after how long an answer is one that nobody waits for any more: whoever waits comes
	// every 20 ms. By the time of the next question it may have expired, or be an error of the past.
	unclaimed = time.Second
)

var errTokenGoexit = errors.New("TokenFunc ended its goroutine (runtime.Goexit, testing.T.FailNow)")

// tokens asks a TokenFunc, on behalf of a storage and of all groups and streams of it. nil: there is
// no such function.
type tokens struct {
	function TokenFunc
	ctx      context.Context
	cancel   context.CancelFunc
	number   cgo.Handle
	// thrown is a panic of the function, until a call raises it.
	thrown atomic.Pointer[thrown]

	mutex sync.Mutex
	// users counts those who may ask: the last one frees the number.
	users int
	// asked is the question that has no answer yet, or one that nobody has fetched.
	asked *question
	// err is the last error of the function.
	err error
}

// question is one call of a TokenFunc. What follows `answered` is written before that is closed.
type question struct {
	begun    time.Time
	answered chan struct{}
	token    string
	expires  time.Time
	err      error
	ended    time.Time
}

// newTokens is used by its caller.
func newTokens(ctx context.Context, function TokenFunc) *tokens {
	if function == nil || ctx == nil { // a nil context is refused by run
		return nil
	}
	t := &tokens{function: function, users: 1}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.number = cgo.NewHandle(t)
	nativeCreated()
	return t
}

// native returns the number by which C finds the tokens.
func (t *tokens) native() C.uintptr_t {
	if t == nil {
		return 0
	}
	return C.uintptr_t(t.number)
}

// join adds a user, as one of them may do.
func (t *tokens) join() {
	if t == nil {
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.users++
}

func (t *tokens) leave() {
	if t == nil {
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.users--
	if t.users == 0 {
		t.cancel()
		t.number.Delete()
		nativeReleased()
		t.logPanic()
	}
}

// logPanic says what no call will raise, as there is no user any more.
func (t *tokens) logPanic() {
	logUnraised("a TokenFunc panicked after the call that asked it", &t.thrown)
}

// panics are where a call finds those of the function.
func (t *tokens) panics() []*atomic.Pointer[thrown] {
	if t == nil {
		return nil
	}
	return []*atomic.Pointer[thrown]{&t.thrown}
}

// explain returns the error of what needed a token, with what the function has said.
func (t *tokens) explain(err error) error {
	failed, ok := err.(*Error)
	if t == nil || !ok || failed.Kind != kindTokenCallback {
		return err
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.err != nil {
		failed.causes = append(failed.causes, t.err)
	}
	return failed
}

// get is XetTokenCallback, but for what C needs: it waits for an answer, but not for long. nil: there
// is none yet.
func (t *tokens) get() *question {
	asked := t.ask()
	answer := asked
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-asked.answered:
	case <-timer.C:
		if time.Since(asked.begun) < longestQuestion+grace {
			return nil
		}
		// It doesn't heed its context.
		answer = &question{err: fmt.Errorf("TokenFunc has not returned for %v", longestQuestion)}
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.asked == asked {
		t.asked = nil
	}
	if answer.err != nil {
		t.err = answer.err
	}
	return answer
}

// ask returns the question whose answer is to be waited for.
func (t *tokens) ask() *question {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.asked == nil || t.asked.isUnclaimed() {
		t.asked = &question{begun: time.Now(), answered: make(chan struct{})}
		go t.answer(t.asked)
	}
	return t.asked
}

func (q *question) isUnclaimed() bool {
	select {
	case <-q.answered:
		return time.Since(q.ended) > unclaimed
	default:
		return false
	}
}

// answer calls the function, and says what came of it, also where it panics or ends the goroutine.
func (t *tokens) answer(q *question) {
	ctx, cancel := context.WithTimeout(t.ctx, longestQuestion)
	defer cancel()
	q.err = errTokenGoexit
	defer func() {
		if value := recover(); value != nil {
			t.thrown.CompareAndSwap(nil, &thrown{value})
			q.err = fmt.Errorf("TokenFunc panicked: %v", value)
		}
		q.ended = time.Now()
		close(q.answered)
		t.mutex.Lock()
		defer t.mutex.Unlock()
		if t.users == 0 {
			t.logPanic()
		}
	}()
	q.token, q.expires, q.err = t.function(ctx)
	if q.err == nil && strings.IndexByte(q.token, 0) >= 0 {
		q.err = errors.New("the token of TokenFunc holds a NUL character")
	}
}

//export xetgoToken
func xetgoToken(number C.uintptr_t) C.int64_t {
	stress()
	answer := cgo.Handle(number).Value().(*tokens).get()
	if answer == nil {
		return C.XET_TOKEN_AGAIN
	}
	if answer.err != nil {
		reason := C.CString(printable(answer.err))
		defer C.free(unsafe.Pointer(reason))
		return C.xet_token_fail(reason)
	}
	expires := C.uint64_t(math.MaxUint64)
	if !answer.expires.IsZero() {
		expires = C.uint64_t(max(answer.expires.Unix(), 0))
	}
	token := C.CString(answer.token)
	defer C.free(unsafe.Pointer(token))
	return C.xet_token_give(token, expires)
}
