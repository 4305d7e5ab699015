package xet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// stalled makes the model's bytes begin to come, and then no more.
func stalled(t *testing.T) *xet.Client {
	t.Helper()
	hub.Fault(t, "storage", object{"stall_after_bytes": 100_000})
	return newClient(t)
}

// onBytes calls a function when the first bytes have come.
func onBytes(then func()) xet.ProgressOption {
	return xet.WithProgress(func(p xet.Progress) {
		if p.BytesNetwork > 0 {
			then()
		}
	})
}

func wantSoon(t *testing.T, since time.Time) {
	t.Helper()
	took := time.Since(since)
	t.Logf("returned after %v", took)
	if took > soon {
		t.Errorf("returned after %v", took)
	}
}

// Cancelling in the middle of the bytes ends the call at once, and leaves no file.
func TestCancel(t *testing.T) {
	client := stalled(t)
	folder := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the user went home")
	var since time.Time
	_, err := client.DownloadFile(ctx, modelRepo, "model.safetensors", xet.WithLocalDir(folder),
		onBytes(func() {
			if since.IsZero() {
				since = time.Now()
				cancel(reason)
			}
		}))
	wantSoon(t, since)
	for _, is := range []error{xet.ErrCancelled, context.Canceled, reason} {
		if !errors.Is(err, is) {
			t.Errorf("%v is not %v", err, is)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, xet.ErrTimeout) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "model.safetensors")); !os.IsNotExist(err) {
		t.Errorf("left a file: %v", err)
	}
}

// A deadline that passes in the middle of the bytes ends the call at once, as a timeout.
func TestDeadline(t *testing.T) {
	client := stalled(t)
	// Counted from here, since the machine may be slow; past it, the call has nothing to wait for.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := client.DownloadSnapshot(ctx, modelRepo)
	deadline, _ := ctx.Deadline()
	wantSoon(t, deadline)
	for _, is := range []error{xet.ErrTimeout, context.DeadlineExceeded, os.ErrDeadlineExceeded} {
		if !errors.Is(err, is) {
			t.Errorf("%v is not %v", err, is)
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, xet.ErrCancelled) {
		t.Error(err)
	}
}

// A server that wants to be left alone for longer than there is time ends the call at once; for less,
// it is waited for, and progress says so.
func TestRateLimit(t *testing.T) {
	client := newClient(t)
	hub.Fault(t, "revision", object{"status": 429, "headers": object{"Retry-After": "3600"}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := client.DownloadSnapshot(ctx, modelRepo)
	if !errors.Is(err, xet.ErrRateLimited) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	endless, cancel := context.WithCancel(t.Context())
	defer cancel()
	var left int64
	_, err = client.DownloadSnapshot(endless, modelRepo, xet.WithProgress(func(p xet.Progress) {
		if left = p.RateLimitedSeconds; left > 0 {
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) || left <= 0 || left > 3601 {
		t.Errorf("%v, %d s", err, left)
	}
}

// A listing can be cancelled, too, while the server says nothing.
func TestCancelList(t *testing.T) {
	hub.Fault(t, "any", object{"stall_before": 60})
	client := newClient(t)
	ctx := &endsAfter{Context: t.Context(), questions: 3}
	_, err := client.ListFiles(ctx, modelRepo)
	wantSoon(t, ctx.ended)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// endsAfter is a context that ends when it was asked a number of times.
type endsAfter struct {
	context.Context
	questions int
	ended     time.Time
}

func (c *endsAfter) Err() error {
	if c.questions--; c.questions > 0 {
		return nil
	}
	if c.ended.IsZero() {
		c.ended = time.Now()
	}
	return context.Canceled
}

// A context that has ended before the call makes it end before it begins.
func TestContextThatHasEnded(t *testing.T) {
	client := newClientWith(t, xet.Config{Endpoint: "http://127.0.0.1:9"})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for ctx, is := range map[context.Context]error{
		cancelled: context.Canceled, late: context.DeadlineExceeded,
	} {
		_, err := client.ListFiles(ctx, modelRepo)
		if !errors.Is(err, is) {
			t.Errorf("%v is not %v", err, is)
		}
		_, err = client.DownloadFile(ctx, modelRepo, "config.json")
		if !errors.Is(err, is) {
			t.Errorf("%v is not %v", err, is)
		}
	}
}
