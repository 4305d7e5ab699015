package xet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(buffer []byte) (int, error) { return f(buffer) }

// blocked is a reader whose Read blocks until it is released. The time limit only lets a broken
// library fail a test instead of hanging it.
type blocked struct {
	entered, release chan struct{}
	then             func() (int, error)
}

func newBlocked(t *testing.T) *blocked {
	b := &blocked{make(chan struct{}), make(chan struct{}), func() (int, error) { return 0, io.EOF }}
	t.Cleanup(func() { close(b.release) })
	return b
}

func (b *blocked) Read([]byte) (int, error) {
	close(b.entered)
	select {
	case <-b.release:
		return b.then()
	case <-time.After(3 * soon):
		return 0, errors.New("the call waited for the reader")
	}
}

func commitFrom(ctx context.Context, t *testing.T, readers ...io.Reader) (*xet.Commit, error) {
	t.Helper()
	client := newClient(t)
	repo := newRepo(t, client, xet.WithExistOK())
	var operations []xet.Operation
	for i, reader := range readers {
		operations = append(operations, xet.AddReader(string(rune('a'+i)), reader))
	}
	return client.CreateCommit(ctx, repo, operations)
}

// A context that is cancelled ends the call at once though a Read blocks, after some bytes or before
// the first.
func TestReaderThatBlocks(t *testing.T) {
	for name, before := range map[string]int{"at once": 0, "in the middle": 5_000_000} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("the user went home")
			reader := newBlocked(t)
			ended := make(chan time.Time, 1)
			go func() {
				<-reader.entered
				ended <- time.Now()
				cancel(reason)
			}()
			_, err := commitFrom(ctx, t, io.MultiReader(bytes.NewReader(noise(before, 21)), reader))
			wantSoon(t, <-ended)
			for _, is := range []error{xet.ErrCancelled, context.Canceled, reason} {
				if !errors.Is(err, is) {
					t.Errorf("%v is not %v", err, is)
				}
			}
		})
	}
}

// So does a deadline, as a timeout.
func TestReaderThatBlocksPastTheDeadline(t *testing.T) {
	reader := newBlocked(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := commitFrom(ctx, t, reader)
	deadline, _ := ctx.Deadline()
	wantSoon(t, deadline)
	if !errors.Is(err, xet.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A context of the caller's own that ends without closing its Done ends the call, too; and one that
// panics.
func TestReaderThatBlocksUnderOtherContexts(t *testing.T) {
	ctx := &endsAfter{Context: t.Context(), questions: 6}
	_, err := commitFrom(ctx, t, newBlocked(t))
	wantSoon(t, ctx.ended)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	defer func() {
		if value := recover(); value != "no more questions" {
			t.Error(value)
		}
	}()
	_, err = commitFrom(&panics{t.Context(), 6}, t, newBlocked(t))
	t.Errorf("returned %v", err)
}

// A slow reader is waited for: nothing of it is lost or read twice.
func TestReaderThatPauses(t *testing.T) {
	content := noise(100_000, 22)
	source := bytes.NewReader(content)
	ctx := &counts{t.Context(), make(chan struct{})}
	pausing := readerFunc(func(buffer []byte) (int, error) {
		for range 3 {
			<-ctx.asked // so the thread of the call has looked at other things meanwhile
		}
		return source.Read(buffer[:min(len(buffer), 30_000)])
	})
	client := newClient(t)
	repo := newRepo(t, client)
	if _, err := client.CreateCommit(ctx, repo,
		[]xet.Operation{xet.AddReader("a", pausing)}); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if _, err := client.DownloadSnapshot(t.Context(), repo, xet.WithLocalDir(folder)); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, read(t, folder), map[string][]byte{"a": content})
}

// counts is a context that says when it is asked.
type counts struct {
	context.Context
	asked chan struct{}
}

func (c *counts) Err() error {
	select {
	case c.asked <- struct{}{}:
	default:
	}
	return c.Context.Err()
}

// tornError is an error of a caller's own.
type tornError struct{ at int }

func (e *tornError) Error() string { return "the tape is torn" }

// A reader's own error comes out of the call, whatever came before it, and nothing is committed.
func TestReaderThatFails(t *testing.T) {
	for name, reader := range map[string]io.Reader{
		"at once": readerFunc(func([]byte) (int, error) { return 0, &tornError{7} }),
		"with its last bytes": readerFunc(func(buffer []byte) (int, error) {
			return copy(buffer, "last"), &tornError{7}
		}),
		"in the middle": io.MultiReader(bytes.NewReader(noise(5_000_000, 23)),
			readerFunc(func([]byte) (int, error) { return 0, &tornError{7} })),
	} {
		t.Run(name, func(t *testing.T) {
			commit, err := commitFrom(t.Context(), t, strings.NewReader("whole"), reader)
			var torn *tornError
			var failure *xet.Error
			if !errors.As(err, &torn) || torn.at != 7 || !errors.As(err, &failure) ||
				!errors.Is(err, xet.ErrReadFailed) || failure.Code != xet.CodeIOError ||
				failure.File != "b" || commit != nil ||
				!strings.HasSuffix(err.Error(), "the tape is torn") {
				t.Errorf("%v, %v", commit, err)
			}
		})
	}
}

// A reader that follows the call's context, such as the body of a request, breaks because of it:
// the error is the context's.
func TestReaderThatFollowsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := commitFrom(ctx, t, readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	}))
	if !errors.Is(err, xet.ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What a reader says of its error comes through C as it is, or as much of it as can.
func TestReadersWhoseErrorsAreNoText(t *testing.T) {
	for text, arrives := range map[string]string{
		"caf\xe9 \xff": "caf\uFFFD \uFFFD", "a\x00b": "a\uFFFDb", "雪": "雪",
	} {
		failed := errors.New(text)
		_, err := commitFrom(t.Context(), t, iotest.ErrReader(failed))
		if !errors.Is(err, failed) || !strings.HasSuffix(err.Error(), arrives) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Readers that break the rules of io.Reader, or end their goroutine, end the call with a sentence.
func TestReadersThatMisbehave(t *testing.T) {
	for sentence, reader := range map[string]readerFunc{
		io.ErrNoProgress.Error():                     func([]byte) (int, error) { return 0, nil },
		"the reader says that it has read -1 of":     func([]byte) (int, error) { return -1, nil },
		"the reader says that it has read 99999999 ": func([]byte) (int, error) { return 99999999, nil },
		"the reader ended its goroutine":             func([]byte) (int, error) { runtime.Goexit(); return 0, nil },
	} {
		_, err := commitFrom(t.Context(), t, reader)
		if !errors.Is(err, xet.ErrIO) || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%v, not %q", err, sentence)
		}
	}
}

// A reader's panic comes out of the call as it was.
func TestReaderThatPanics(t *testing.T) {
	defer func() {
		if value := recover(); value != "boom" {
			t.Errorf("panicked with %v", value)
		}
	}()
	_, err := commitFrom(t.Context(), t, readerFunc(func([]byte) (int, error) { panic("boom") }))
	t.Errorf("no panic, but %v", err)
}

// One that comes after the call goes to the logger, not through the program.
func TestReaderThatPanicsTooLate(t *testing.T) {
	lines := make(chan string, 100)
	setLogger(t, slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
		if strings.Contains(string(line), "panicked") {
			lines <- string(line)
		}
		return len(line), nil
	}), nil)))
	ctx, cancel := context.WithCancel(t.Context())
	reader := newBlocked(t)
	reader.then = func() (int, error) { panic("boom") }
	go func() { <-reader.entered; cancel() }()
	if _, err := commitFrom(ctx, t, reader); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	reader.release <- struct{}{}
	if line := <-lines; !strings.Contains(line, "panic=boom") {
		t.Error(line)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(line []byte) (int, error) { return f(line) }
