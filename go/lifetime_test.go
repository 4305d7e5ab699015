package xet_test

import (
	"context"
	"errors"
	"io/fs"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

func wantClosed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, xet.ErrClosed) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v", err)
	}
	wantInvalid(t, err, "client")
}

// A client that is closed, twice, or was never made, says so.
func TestClosedClients(t *testing.T) {
	closed := newClient(t)
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, client := range []*xet.Client{closed, nil, {}} {
		_, err := client.ListFiles(t.Context(), modelRepo)
		wantClosed(t, err)
		_, err = client.DownloadFile(t.Context(), modelRepo, "config.json")
		wantClosed(t, err)
		_, err = client.DownloadSnapshot(t.Context(), modelRepo)
		wantClosed(t, err)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Closing during a call, even from its callback, lets the call finish and refuses the next one.
func TestCloseDuringACall(t *testing.T) {
	client := newClient(t)
	transfer, err := client.DownloadSnapshot(t.Context(), modelRepo,
		xet.WithProgress(func(xet.Progress) { client.Close() }))
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, read(t, transfer.Path), model)
	_, err = client.ListFiles(t.Context(), modelRepo)
	wantClosed(t, err)
}

// Calls that meet a Close either finish or find the client closed; nothing crashes.
func TestCloseMeetsCalls(t *testing.T) {
	for range 20 {
		client := newClient(t)
		var group sync.WaitGroup
		for range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				_, err := client.ListFiles(t.Context(), modelRepo)
				if err != nil && !errors.Is(err, xet.ErrClosed) {
					t.Error(err)
				}
			}()
		}
		client.Close()
		group.Wait()
	}
}

// A client that nobody closes is freed by the garbage collector, and not during a call.
func TestForgottenClients(t *testing.T) {
	for range 10 {
		client, err := xet.NewClient(&xet.Config{
			Endpoint: hub.Endpoint, CacheDir: t.TempDir(), Anonymous: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		// The last use of the client is the beginning of this call.
		_, err = client.DownloadFile(t.Context(), modelRepo, "config.json",
			xet.WithProgress(func(xet.Progress) { runtime.GC() }))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := xet.CheckNatives(); err != nil {
		t.Error(err)
	}
}

// Everything works while the garbage collector is at work all the time.
func TestGarbageCollectorAtWork(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	client := newClient(t)
	for range 5 {
		var garbage [][]byte
		transfer, err := client.DownloadSnapshot(t.Context(), modelRepo, xet.WithForceDownload(),
			xet.WithAllowPatterns("*.json", "other/", "nested/*"),
			xet.WithProgress(func(xet.Progress) { garbage = append(garbage, make([]byte, 1<<20)) }))
		if err != nil {
			t.Fatal(err)
		}
		if transfer.Files != 5 {
			t.Errorf("%+v", transfer)
		}
	}
}

// A panic in the user's function ends the call and reaches the caller as it was; the client lives on.
func TestPanicInProgress(t *testing.T) {
	client := newClient(t)
	type mine struct{ text string }
	for range 3 {
		calls := 0
		caught := func() (value any) {
			defer func() { value = recover() }()
			_, err := client.DownloadSnapshot(t.Context(), modelRepo,
				xet.WithForceDownload(),
				xet.WithProgress(func(xet.Progress) {
					calls++
					panic(mine{"no thanks"})
				}))
			t.Errorf("returned %v", err)
			return nil
		}()
		if caught != (mine{"no thanks"}) || calls != 1 {
			t.Errorf("%v after %d calls", caught, calls)
		}
	}
	if _, err := client.ListFiles(t.Context(), modelRepo); err != nil {
		t.Error(err)
	}
}

// A context is the user's code, too.
func TestPanicInContext(t *testing.T) {
	client := newClient(t)
	hub.Fault(t, "any", object{"stall_before": 60})
	defer func() {
		if value := recover(); value != "no more questions" {
			t.Error(value)
		}
	}()
	_, err := client.ListFiles(&panics{t.Context(), 3}, modelRepo)
	t.Errorf("returned %v", err)
}

type panics struct {
	context.Context
	questions int
}

func (c *panics) Err() error {
	if c.questions--; c.questions > 0 {
		return nil
	}
	panic("no more questions")
}
