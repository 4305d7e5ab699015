package xet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// reading returns options that lead to what alice may read, and what a function gets there.
func reading(t *testing.T) (xet.StorageOptions, func(context.Context) (token, cas string, expires time.Time)) {
	url := hub.Endpoint + "/api/models/" + modelRepo + "/xet-read-token/main"
	headers := http.Header{"Authorization": {"Bearer " + aliceToken}}
	ask := func(ctx context.Context) (string, string, time.Time) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Error(err)
			return "", "", time.Time{}
		}
		request.Header = headers
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			return "", "", time.Time{}
		}
		defer answer.Body.Close()
		var token struct {
			AccessToken, CasURL string
			Exp                 int64
		}
		if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
			t.Error(err)
		}
		return token.AccessToken, token.CasURL, time.Unix(token.Exp, 0)
	}
	return xet.StorageOptions{RefreshURL: url, RefreshHeaders: headers}, ask
}

// published returns the hashes of the model's files in Xet storage.
func published(t *testing.T, client *xet.Client) map[string]string {
	t.Helper()
	files, err := client.ListFiles(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]string{}
	for _, file := range files {
		if file.XetHash != "" {
			hashes[file.Path] = file.XetHash
		}
	}
	return hashes
}

// A refresh URL, a function and a token lead to content of a hub.
func TestTokensOfStorage(t *testing.T) {
	client := newClient(t)
	byURL, ask := reading(t)
	token, cas, expires := ask(t.Context())
	asked, endless := 0, 0
	for name, options := range map[string]xet.StorageOptions{
		"refresh URL": byURL,
		"token":       {Endpoint: cas, Token: token, TokenExpires: expires},
		"function": {Endpoint: cas, TokenFunc: func(ctx context.Context) (string, time.Time, error) {
			asked++                            // one is asked at a time
			time.Sleep(100 * time.Millisecond) // as long as a server may take
			token, _, expires := ask(ctx)
			return token, expires, nil
		}},
		"function without an end": {
			Endpoint: cas, TokenFunc: func(context.Context) (string, time.Time, error) {
				endless++
				return token, time.Time{}, nil
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HF_XET_CACHE", t.TempDir())
			storage := openStorage(t, newClient(t), options)
			folder := t.TempDir()
			want := map[string][]byte{}
			downloads := begin(t, storage.Downloads)
			for path, hash := range published(t, client) {
				name := filepath.Base(path)
				must(t)(downloads.Add(hash, filepath.Join(folder, name), 0))
				want[name] = model[path]
			}
			report, err := downloads.Wait(t.Context())
			if err != nil || report.BytesNetwork == 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			sameFiles(t, read(t, folder), want)
			hash := published(t, client)["other/weights.bin"]
			if got := readAll(t, storage, hash, 0, 1000, 2000); !bytes.Equal(got, model["other/weights.bin"][1000:2000]) {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
	// By the group: the reader finds its bytes on this machine. A token without an end is never replaced.
	if asked != 1 || endless != 1 {
		t.Errorf("the functions were asked %d and %d times", asked, endless)
	}
}

// A function that gets no token is the cause of the error, whichever way it fails.
func TestTokenFuncFails(t *testing.T) {
	client := newClient(t)
	hash := published(t, client)["model.safetensors"]
	_, ask := reading(t)
	_, cas, _ := ask(t.Context())
	refused := errors.New("the safe is locked")
	storageOf := func(function xet.TokenFunc) *xet.Storage {
		return openStorage(t, client, xet.StorageOptions{Endpoint: cas, TokenFunc: function})
	}
	wait := func(storage *xet.Storage, ctx context.Context) (*xet.GroupReport, error) {
		downloads := begin(t, storage.Downloads)
		must(t)(downloads.Add(hash, filepath.Join(t.TempDir(), "x"), 0))
		return downloads.Wait(ctx)
	}
	readOne := func(storage *xet.Storage) error {
		reader, err := storage.Open(t.Context(), hash, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		_, err = io.ReadAll(reader)
		return err
	}

	storage := storageOf(func(context.Context) (string, time.Time, error) { return "", time.Time{}, refused })
	_, ofGroup := wait(storage, t.Context())
	for _, err := range []error{ofGroup, readOne(storage)} {
		if !errors.Is(err, refused) || !errors.Is(err, xet.ErrAuthFailed) ||
			!strings.Contains(err.Error(), "the safe is locked") {
			t.Error(err)
		}
	}
	storage = storageOf(func(context.Context) (string, time.Time, error) {
		runtime.Goexit()
		return "", time.Time{}, nil
	})
	if err := readOne(storage); !errors.Is(err, xet.ErrAuthFailed) || !strings.Contains(err.Error(), "Goexit") {
		t.Error(err)
	}
	storage = storageOf(func(context.Context) (string, time.Time, error) { panic("locked") })
	for _, function := range []func(){
		func() { _, _ = wait(storage, t.Context()) }, func() { _ = readOne(storage) },
	} {
		func() {
			defer func() {
				if value := recover(); value != "locked" {
					t.Errorf("raised %v", value)
				}
			}()
			function()
		}()
	}
	// One that blocks keeps nobody from leaving, and learns that it is asked no more.
	left := make(chan error, 1)
	storage = storageOf(func(ctx context.Context) (string, time.Time, error) {
		<-ctx.Done()
		left <- ctx.Err()
		return "", time.Time{}, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	downloads := begin(t, storage.Downloads)
	must(t)(downloads.Add(hash, filepath.Join(t.TempDir(), "x"), 0))
	report, err := downloads.Wait(ctx)
	if !errors.Is(err, xet.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) ||
		report.State != xet.TaskStateCancelled {
		t.Errorf("%+v, %v", report, err)
	}
	if err := errors.Join(downloads.Close(), storage.Close()); err != nil {
		t.Error(err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Cancelling ends one task, or all, and nothing of them is there; the end of a wait for one is no more
// than that.
func TestCancelTasks(t *testing.T) {
	client := newClient(t)
	hashes := published(t, client)
	byURL, _ := reading(t)
	storage := openStorage(t, client, byURL)
	hub.Fault(t, "storage", object{"stall_before": 60})
	folder := t.TempDir()
	downloads := begin(t, storage.Downloads)
	one := must(t)(downloads.Add(hashes["model.safetensors"], filepath.Join(folder, "1"), 0))
	other := must(t)(downloads.Add(hashes["other/weights.bin"], filepath.Join(folder, "2"), 0))
	if err := downloads.CancelTask(one); err != nil {
		t.Fatal(err)
	}
	if task, err := downloads.WaitTask(t.Context(), one); err != nil || task.State != xet.TaskStateCancelled {
		t.Errorf("%+v, %v", task, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := downloads.WaitTask(ctx, other); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if report, err := downloads.Report(); err != nil || report.State != xet.TaskStateRunning ||
		report.Tasks[1].State != xet.TaskStateRunning {
		t.Errorf("%+v, %v", report, err)
	}
	// A context that is over ends the group, even if it was so before.
	report, err := downloads.Wait(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || report.State != xet.TaskStateCancelled ||
		report.Tasks[1].State != xet.TaskStateCancelled {
		t.Errorf("%+v, %v", report, err)
	}
	sameFiles(t, read(t, folder), nil)

	// A Read that waits ends when its reader is closed.
	reader, err := storage.Open(t.Context(), hashes["nested/part.bin"], 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	timer := time.AfterFunc(100*time.Millisecond, func() { reader.Close() })
	defer timer.Stop()
	if n, err := reader.Read(make([]byte, 10)); n != 0 || !errors.Is(err, xet.ErrClosed) {
		t.Error(n, err)
	}
	wantSoon(t, since)
}
