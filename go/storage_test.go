package xet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// absent is the hash of nothing that is anywhere.
var absent = strings.Repeat("ab", 32)

// openStorage opens a storage until the test ends.
func openStorage(t *testing.T, client *xet.Client, options xet.StorageOptions) *xet.Storage {
	t.Helper()
	storage, err := client.OpenStorage(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := storage.Close(); err != nil {
			t.Error(err)
		}
	})
	return storage
}

// folderStorage is a storage in a new folder.
func folderStorage(t *testing.T) *xet.Storage {
	t.Helper()
	return openStorage(t, newClient(t), xet.StorageOptions{Endpoint: "local://" + t.TempDir()})
}

// begin begins a group, until the test ends.
func begin[G interface{ Close() error }](t *testing.T, function func() (G, error)) G {
	t.Helper()
	group, err := function()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := group.Close(); err != nil {
			t.Error(err)
		}
	})
	return group
}

// must returns a task that was added.
func must(t *testing.T) func(int64, error) int64 {
	return func(task int64, err error) int64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return task
	}
}

// upload uploads contents, and returns their hashes.
func upload(t *testing.T, storage *xet.Storage, contents ...[]byte) []string {
	t.Helper()
	uploads := begin(t, storage.Uploads)
	for _, content := range contents {
		must(t)(uploads.AddBytes(content))
	}
	report, err := uploads.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var hashes []string
	for _, task := range report.Tasks {
		hashes = append(hashes, task.Hash)
	}
	return hashes
}

func readAll(t *testing.T, storage *xet.Storage, hash string, size, start, end int64) []byte {
	t.Helper()
	reader, err := storage.Open(t.Context(), hash, size, start, end)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err := errors.Join(err, reader.Close()); err != nil {
		t.Fatal(err)
	}
	return content
}

// Files, bytes, readers and what is written end in hashes, by which they come back.
func TestUploadToStorage(t *testing.T) {
	storage := folderStorage(t)
	want := [][]byte{
		noise(2_000_000, 31), noise(700_000, 32), nil, noise(6_000_000, 33), []byte("byte by byte"),
		noise(3_000_000, 34),
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, want[0], 0o600); err != nil {
		t.Fatal(err)
	}
	uploads := begin(t, storage.Uploads)
	must(t)(uploads.AddFile(path))
	must(t)(uploads.AddBytes(want[1], xet.WithName("named"), xet.WithSHA256(strings.Repeat("a", 64))))
	must(t)(uploads.AddBytes(want[2]))
	must(t)(uploads.AddReader(iotest.HalfReader(bytes.NewReader(want[3]))))
	must(t)(uploads.AddReader(iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(want[4])))))
	stream, err := uploads.AddStream(xet.WithoutSHA256())
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(want[5], 100_000) {
		if n, err := stream.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := stream.End(); err != nil {
		t.Fatal(err)
	}
	known, err := uploads.WaitTask(t.Context(), stream.Task())
	if err != nil || len(known.Hash) != 64 {
		t.Fatalf("%+v, %v", known, err)
	}
	var last xet.Progress
	report, err := uploads.Wait(t.Context(), xet.WithProgress(func(p xet.Progress) { last = p }))
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for i, content := range want {
		task := report.Tasks[i]
		total += int64(len(content))
		if task.State != xet.TaskStateDone || task.BytesTotal != int64(len(content)) || task.Err != nil ||
			(len(content) > 0 && task.Dedup.TotalBytes != task.BytesTotal) {
			t.Errorf("%+v", task)
		}
		if got := readAll(t, storage, task.Hash, 0, 0, 0); !bytes.Equal(got, content) {
			t.Errorf("%d: %d bytes", i, len(got))
		}
	}
	if report.State != xet.TaskStateDone || report.BytesTotal != total || last.BytesTotal != total ||
		report.Dedup.TotalBytes != total || report.Failed != 0 || report.Duration() <= 0 {
		t.Errorf("%+v, %+v", report, last)
	}
	if tasks := report.Tasks; tasks[0].Name != path || tasks[1].Name != "named" ||
		tasks[1].SHA256 != strings.Repeat("a", 64) || len(tasks[3].SHA256) != 64 ||
		tasks[5].SHA256 != "" || tasks[5].Hash != known.Hash {
		t.Errorf("%+v", tasks)
	}
	if _, err := uploads.AddBytes(nil); !errors.Is(err, xet.ErrInvalidConfig) {
		t.Errorf("added to what was waited for: %v", err)
	}
	contents, err := newClient(t).HashFiles(t.Context(), []string{path})
	if err != nil || !slices.Equal(contents, []xet.Content{{Hash: report.Tasks[0].Hash, Size: 2_000_000}}) {
		t.Errorf("%+v, %v", contents, err)
	}
}

// One task that fails leaves the others alone; its error is the report's, and that of who waits.
func TestOneTaskFails(t *testing.T) {
	storage := folderStorage(t)
	content := noise(1_000_000, 35)
	hash := upload(t, storage, content)[0]
	folder := t.TempDir()
	downloads := begin(t, storage.Downloads)
	bad := must(t)(downloads.Add(absent, filepath.Join(folder, "bad"), 0))
	good := must(t)(downloads.Add(hash, filepath.Join(folder, "good"), 1_000_000))
	if task, err := downloads.WaitTask(t.Context(), good); err != nil || task.State != xet.TaskStateDone {
		t.Errorf("%+v, %v", task, err)
	}
	task, err := downloads.WaitTask(t.Context(), bad)
	if !errors.Is(err, xet.ErrNotFound) || task.State != xet.TaskStateFailed || task.Err != err {
		t.Errorf("%+v, %v", task, err)
	}
	report, err := downloads.Wait(t.Context())
	if !errors.Is(err, xet.ErrNotFound) || !strings.Contains(err.Error(), absent) ||
		report.State != xet.TaskStateDone || report.Failed != 1 ||
		!errors.Is(report.Tasks[0].Err, xet.ErrNotFound) || report.Tasks[1].Err != nil {
		t.Errorf("%+v, %v", report, err)
	}
	sameFiles(t, read(t, folder), map[string][]byte{"good": content})
}

// A reader that breaks fails its task alone, at once, with its own error.
func TestAReaderBreaks(t *testing.T) {
	storage := folderStorage(t)
	uploads := begin(t, storage.Uploads)
	broken := errors.New("the tape is torn")
	bad := must(t)(uploads.AddReader(io.MultiReader(
		bytes.NewReader(noise(500_000, 36)), iotest.ErrReader(broken)), xet.WithName("tape")))
	must(t)(uploads.AddBytes([]byte("content")))
	task, err := uploads.WaitTask(t.Context(), bad)
	if !errors.Is(err, broken) || !errors.Is(err, xet.ErrReadFailed) || task.State != xet.TaskStateFailed ||
		!strings.Contains(err.Error(), "tape: the reader broke: the tape is torn") {
		t.Errorf("%+v, %v", task, err)
	}
	report, err := uploads.Wait(t.Context())
	if !errors.Is(err, broken) || report.Failed != 1 || report.State != xet.TaskStateDone {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := readAll(t, storage, report.Tasks[1].Hash, 0, 0, 0); string(got) != "content" {
		t.Errorf("%q", got)
	}
}

type tornReader struct{}

func (tornReader) Read([]byte) (int, error) { panic("torn") }

type goexitReader struct{}

func (goexitReader) Read([]byte) (int, error) { runtime.Goexit(); return 0, nil }

// A reader's panic is raised where the group is waited for; the end of its goroutine is an error.
func TestAReaderPanics(t *testing.T) {
	storage := folderStorage(t)
	uploads := begin(t, storage.Uploads)
	must(t)(uploads.AddReader(tornReader{}))
	func() {
		defer func() {
			if value := recover(); value != "torn" {
				t.Errorf("raised %v", value)
			}
		}()
		_, err := uploads.Wait(t.Context())
		t.Errorf("returned %v", err)
	}()
	uploads = begin(t, storage.Uploads)
	must(t)(uploads.AddReader(goexitReader{}))
	if _, err := uploads.Wait(t.Context()); !errors.Is(err, xet.ErrReadFailed) {
		t.Error(err)
	}
}

// A reader that gives nothing doesn't keep a group from ending with its context, nor when it is closed.
func TestAReaderBlocks(t *testing.T) {
	storage := folderStorage(t)
	for name, stop := range map[string]func(*xet.Uploads, context.CancelFunc){
		"context": func(_ *xet.Uploads, cancel context.CancelFunc) { cancel() },
		"cancel":  func(uploads *xet.Uploads, _ context.CancelFunc) { uploads.Cancel() },
		"close":   func(uploads *xet.Uploads, _ context.CancelFunc) { uploads.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			uploads := begin(t, storage.Uploads)
			source, sink := io.Pipe()
			defer sink.Close()
			must(t)(uploads.AddReader(source))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := sink.Write([]byte("so much")); err != nil { // it reads
				t.Fatal(err)
			}
			var since time.Time
			timer := time.AfterFunc(100*time.Millisecond, func() {
				since = time.Now()
				stop(uploads, cancel)
			})
			defer timer.Stop()
			report, err := uploads.Wait(ctx)
			wantSoon(t, since)
			if name == "close" { // which leaves nothing to report
				if !errors.Is(err, xet.ErrClosed) {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, xet.ErrCancelled) || (name == "context") != errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if report.State != xet.TaskStateCancelled || report.Tasks[0].State != xet.TaskStateCancelled {
				t.Errorf("%+v", report)
			}
		})
	}
}

// Bytes live as long as C needs them, however early their owner lets go of them, and of the group.
func TestBytesOfUploadsLive(t *testing.T) {
	storage := folderStorage(t)
	uploads := begin(t, storage.Uploads)
	for seed := range uint64(8) {
		must(t)(uploads.AddBytes(noise(1_000_000, 40+seed)))
		runtime.GC()
	}
	report, err := uploads.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seed, task := range report.Tasks {
		if got := readAll(t, storage, task.Hash, 0, 0, 0); !bytes.Equal(got, noise(1_000_000, 40+uint64(seed))) {
			t.Errorf("%d: %d bytes", seed, len(got))
		}
	}
	func() {
		forgotten, err := storage.Uploads()
		if err != nil {
			t.Fatal(err)
		}
		must(t)(forgotten.AddBytes(noise(4_000_000, 50)))
	}()
	runtime.GC()
}

// Content is read from anywhere to anywhere; a reader that was closed says so, not that it's at the end.
func TestOpenContent(t *testing.T) {
	storage := folderStorage(t)
	content := noise(3_000_000, 37)
	hash := upload(t, storage, content)[0]
	for _, size := range []int64{0, 3_000_000} {
		for _, part := range [][2]int64{{0, 0}, {5, 100_000}, {2_000_000, 0}, {0, 7}, {2_999_999, 9_000_000}} {
			start, end := part[0], min(part[1], 3_000_000)
			if end == 0 {
				end = 3_000_000
			}
			if got := readAll(t, storage, hash, size, start, part[1]); !bytes.Equal(got, content[start:end]) {
				t.Errorf("%v: %d bytes", part, len(got))
			}
		}
	}
	reader, err := storage.Open(t.Context(), hash, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(reader, content); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reader, err = storage.Open(ctx, hash, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(reader, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 2 {
		if _, err := io.ReadAll(reader); !errors.Is(err, xet.ErrCancelled) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	for range 2 {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
		if n, err := reader.Read(make([]byte, 1)); n != 0 || !errors.Is(err, xet.ErrClosed) {
			t.Error(n, err)
		}
	}
}

// Arguments that can't be are refused by the names that they have here.
func TestStorageArguments(t *testing.T) {
	client, storage := newClient(t), folderStorage(t)
	downloads, uploads := begin(t, storage.Downloads), begin(t, storage.Uploads)
	open := func(options xet.StorageOptions) error {
		_, err := client.OpenStorage(t.Context(), options)
		return err
	}
	added := func(_ int64, err error) error { return err }
	opened := func(_ *xet.ContentReader, err error) error { return err }
	token := func(context.Context) (string, time.Time, error) { return "", time.Time{}, nil }
	for _, test := range []struct {
		field string
		err   error
	}{
		{"endpoint", open(xet.StorageOptions{Endpoint: "nonsense"})},
		{"token_expires", open(xet.StorageOptions{TokenExpires: time.Unix(-1, 0)})},
		{"refresh_url", open(xet.StorageOptions{RefreshURL: "http://localhost", TokenFunc: token})},
		{"headers[0]", open(xet.StorageOptions{Endpoint: "http://localhost", Headers: http.Header{"a b": {""}}})},
		{"hash", added(downloads.Add("xyz", "x", 0))},
		{"path", added(downloads.Add(absent, "", 0))},
		{"size", added(downloads.Add(absent, "x", -1))},
		{"path", added(uploads.AddFile(""))},
		{"name", added(uploads.AddFile("x", xet.WithName("\x00")))},
		{"sha256", added(uploads.AddBytes(nil, xet.WithSHA256("xyz")))},
		{"reader", added(uploads.AddReader(nil))},
		{"task", uploads.CancelTask(0)},
		{"task", uploads.CancelTask(99)},
		{"hash", opened(storage.Open(t.Context(), "xyz", 0, 0, 0))},
		{"start", opened(storage.Open(t.Context(), absent, 0, 2, 1))},
		{"end", opened(storage.Open(t.Context(), absent, 0, 0, -1))},
	} {
		wantInvalid(t, test.err, test.field)
	}
	options := xet.StorageOptions{
		Token: "secret", RefreshURL: "http://h/?secret", Headers: http.Header{"X": {"secret"}},
		RefreshHeaders: http.Header{"Authorization": {"secret"}},
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, options); strings.Contains(text, "secret") ||
			!strings.Contains(text, "Authorization") {
			t.Error(text)
		}
	}
	encoded, err := json.Marshal(options)
	if err != nil || strings.Contains(string(encoded), "secret") {
		t.Errorf("%s, %v", encoded, err)
	}
}

// What was closed says so; what was begun with it goes on.
func TestClosedStorage(t *testing.T) {
	storage := folderStorage(t)
	content := noise(1_000_000, 38)
	hash := upload(t, storage, content)[0]
	reader, err := storage.Open(t.Context(), hash, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	uploads := begin(t, storage.Uploads)
	for range 2 {
		if err := storage.Close(); err != nil {
			t.Error(err)
		}
	}
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := errors.Join(reader.Close(), uploads.Close(), uploads.Close()); err != nil {
		t.Error(err)
	}
	_, ofStorage := storage.Downloads()
	_, ofNil := (*xet.Storage)(nil).Uploads()
	_, ofGroup := uploads.AddBytes(content)
	_, ofWait := uploads.Wait(t.Context())
	for _, err := range []error{ofStorage, ofNil, ofGroup, ofWait} {
		if !errors.Is(err, xet.ErrClosed) {
			t.Error(err)
		}
	}
}
