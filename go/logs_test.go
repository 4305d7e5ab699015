package xet_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// records is a slog.Handler that keeps what it gets.
type records struct {
	mutex sync.Mutex
	text  bytes.Buffer
	count int
}

func (r *records) logger(level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: level}))
}

func (r *records) Write(line []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.count++
	return r.text.Write(line)
}

func (r *records) reset() (string, int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	defer func() { r.text.Reset(); r.count = 0 }()
	return r.text.String(), r.count
}

func setLogger(t *testing.T, logger *slog.Logger) {
	t.Helper()
	if err := xet.SetLogger(logger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := xet.SetLogger(nil); err != nil {
			t.Error(err)
		}
	})
}

// Logs arrive with their level and target, without tokens, and as many as the logger wants now.
func TestSetLogger(t *testing.T) {
	var logged records
	var level slog.LevelVar
	level.Set(xet.LevelTrace)
	setLogger(t, logged.logger(&level))
	client := newClient(t)
	list := func() (string, int) {
		if _, err := client.ListFiles(t.Context(), modelRepo); err != nil {
			t.Fatal(err)
		}
		return logged.reset()
	}
	text, count := list()
	if count == 0 || !strings.Contains(text, "target=") || strings.Contains(text, aliceToken) {
		t.Errorf("%d records: %s", count, text)
	}
	level.Set(slog.LevelError)
	if text, count := list(); count != 0 {
		t.Errorf("%d records: %s", count, text)
	}
	level.Set(xet.LevelTrace)
	if _, again := list(); again == 0 {
		t.Error("no records after the level went down again")
	}
	if err := xet.SetLogger(nil); err != nil {
		t.Fatal(err)
	}
	if text, count := list(); count != 0 {
		t.Errorf("%d records: %s", count, text)
	}
}

// A panic in a log handler reaches the caller of the call that logged, once, though the handler
// panics over every record of the call; and none is left for a call that follows.
func TestPanicInLogger(t *testing.T) {
	client := newClient(t)
	for range 10 {
		setLogger(t, slog.New(panicking{slog.DiscardHandler}))
		caught := func() (value any) {
			defer func() { value = recover() }()
			_, err := client.DownloadSnapshot(t.Context(), modelRepo, xet.WithForceDownload())
			t.Errorf("returned %v", err)
			return nil
		}()
		if caught != "no logs today" {
			t.Error(caught)
		}
		setLogger(t, nil)
		if _, err := client.ListFiles(t.Context(), modelRepo); err != nil {
			t.Error(err)
		}
	}
}

type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool  { return true }
func (panicking) Handle(context.Context, slog.Record) error { panic("no logs today") }
