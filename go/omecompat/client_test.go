package omecompat_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	native "github.com/xet-ffi/xet-ffi/go"
	"github.com/xet-ffi/xet-ffi/go/internal/testhub"
	xet "github.com/xet-ffi/xet-ffi/go/omecompat"
)

// A snapshot leaves the files of the repo in its folder and nothing else, since its callers upload all that is
// there; progress arrives at the end.
func TestSnapshot(t *testing.T) {
	client := alice(t)
	var last xet.ProgressUpdate
	phases := map[string]bool{}
	if err := setProgressHandler(client, func(u xet.ProgressUpdate) {
		last = u
		phases[u.Phase.String()] = true
	}, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	// Long enough to be seen.
	hub.Fault(t, "storage", testhub.Object{"stall_before": 0.3})
	folder := t.TempDir()
	request := &xet.SnapshotRequest{RepoID: modelRepo, RepoType: "models", Revision: "main", LocalDir: folder}
	path, err := downloadSnapshot(t.Context(), client, request)
	if err != nil || path != folder {
		t.Fatal(path, err)
	}
	holds(t, folder, all()...)
	var size uint64
	files, err := listFiles(client, modelRepo, "")
	if err != nil || len(files) != len(model) {
		t.Fatal(files, err)
	}
	for _, file := range files {
		size += file.Size
	}
	if last.Phase != xet.ProgressPhaseFinalizing || last.CompletedBytes != size || last.TotalBytes != size ||
		int(last.CompletedFiles) != len(model) || last.CompletedFiles != last.TotalFiles ||
		last.CurrentFile == "" || last.CurrentFileCompletedBytes != last.CurrentFileTotalBytes {
		t.Errorf("%+v", last)
	}
	if !phases["scanning"] || !phases["downloading"] {
		t.Error(phases)
	}

	// Once more, it is read, and nothing comes over the network.
	hub.Fault(t, "resolve", testhub.Object{"status": 500})
	hub.Fault(t, "reconstruction", testhub.Object{"status": 500})
	if err := disableProgress(client); err != nil {
		t.Fatal(err)
	}
	last = xet.ProgressUpdate{}
	if _, err := snapshotPlain(client, request); err != nil || last.TotalBytes != 0 {
		t.Error(err, last)
	}
	holds(t, folder, all()...)
}

// The model agent's way from a configuration to a folder, in which errors are told apart by their text.
func TestModelAgent(t *testing.T) {
	t.Setenv("HF_XET_CACHE", t.TempDir())
	agent := &xet.Config{Endpoint: hub.Endpoint, CacheDir: t.TempDir(), MaxConcurrentDownloads: 4}
	var last seen
	folder := filepath.Join(t.TempDir(), "models", "a")
	path, _, err := fetch(t.Context(), agent, modelRepo, "refs%2Ftry%2F7", testhub.AliceToken, folder, &last)
	if err != nil || path != folder || last.completedBytes != last.totalBytes || last.totalBytes == 0 ||
		last.completedFiles != last.totalFiles || last.fileBytesCompleted != last.fileBytes ||
		last.currentFile == "" || !last.phases["finalizing"] {
		t.Errorf("%s, %v, %+v", path, err, last)
	}
	holds(t, folder, all()...)

	hub.Fault(t, "revision", testhub.Object{"status": 429, "headers": testhub.Object{"Retry-After": "36000"}})
	_, metric, err := fetch(t.Context(), agent, modelRepo, "", "", t.TempDir(), &last)
	if code(err) != int(native.CodeRateLimited) || metric != "rate_limit_error" {
		t.Error(metric, err)
	}
}

// Patterns choose files; none, nil or empty, means all.
func TestPatterns(t *testing.T) {
	client := alice(t)
	folder := t.TempDir()
	request := &xet.SnapshotRequest{
		RepoID: modelRepo, LocalDir: folder,
		AllowPatterns: []string{"*.json", "*.txt"}, IgnorePatterns: []string{"original/*"},
	}
	if _, err := client.DownloadSnapshot(request); err != nil {
		t.Fatal(err)
	}
	holds(t, folder, "config.json", "nested/vocab.txt")
	request.AllowPatterns, request.IgnorePatterns = []string{}, []string{}
	if _, err := client.DownloadSnapshot(request); err != nil {
		t.Fatal(err)
	}
	holds(t, folder, all()...)
}

// A file goes into its folder, or into the cache, and datasets are found as datasets.
func TestFile(t *testing.T) {
	client := alice(t)
	folder := t.TempDir()
	request := &xet.DownloadRequest{
		RepoID: modelRepo, RepoType: "models", Revision: "main", Filename: "nested/vocab.txt", LocalDir: folder,
	}
	path, err := downloadFile(client, request)
	if err != nil || path != filepath.Join(folder, "nested", "vocab.txt") {
		t.Error(path, err)
	}
	holds(t, folder, "nested/vocab.txt")
	request.LocalDir = ""
	path, err = fileContext(client, t.Context(), request)
	if content, read := os.ReadFile(path); err != nil || read != nil || string(content) != "a\nb\n" {
		t.Errorf("%s, %v, %q, %v", path, err, content, read)
	}

	config := &xet.DownloadConfig{
		RepoID: dataRepo, RepoType: "datasets", Filename: "train.csv", Endpoint: hub.Endpoint,
		Token: testhub.AliceToken, CacheDir: t.TempDir(), LocalDir: t.TempDir(), EtagTimeout: 20,
	}
	path, err = fileAlone(t.Context(), config)
	if content, read := os.ReadFile(path); err != nil || read != nil || string(content) != "a,b\n1,2\n" {
		t.Errorf("%s, %v, %q, %v", path, err, content, read)
	}
	files, err := listAlone(t.Context(), config)
	if err != nil || len(files) != 2 || files[1].Path != "train.csv" || files[1].Size != 8 || files[1].Hash == "" {
		t.Errorf("%v, %v", files, err)
	}
	path, err = snapshotAlone(t.Context(), config)
	if err != nil || path != config.LocalDir {
		t.Error(path, err)
	}
}

// Refusals have the numbers that they were meant to have, and are errors of the standard library, too.
func TestErrors(t *testing.T) {
	t.Setenv("HF_TOKEN", testhub.AliceToken) // which no client of a Config sends
	folder := t.TempDir()
	attempt := func(config xet.Config, repo, revision string) error {
		client := clientWith(t, config)
		_, err := client.DownloadSnapshot(&xet.SnapshotRequest{RepoID: repo, Revision: revision, LocalDir: folder})
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		code int
		is   error
	}{
		{"unknown token", attempt(xet.Config{Token: "hf_unknown"}, modelRepo, ""), 2, native.ErrAuthFailed},
		{"not on the list", attempt(xet.Config{Token: testhub.BobToken}, gatedRepo, ""), 5, native.ErrGatedRepo},
		{"no token", attempt(xet.Config{}, gatedRepo, ""), 5, fs.ErrPermission},
		{"no such repo", attempt(xet.Config{Token: testhub.AliceToken}, "alice/none", ""), 4, fs.ErrNotExist},
		{"no such revision", attempt(xet.Config{}, modelRepo, "none"), 4, native.ErrRevisionNotFound},
	} {
		if code(tt.err) != tt.code || !errors.Is(tt.err, tt.is) {
			t.Errorf("%s: %d, %v", tt.name, code(tt.err), tt.err)
		}
		if xet.IsAuthFailedError(tt.err) != (tt.code == 2) {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
		var failure *xet.XetError
		if errors.As(tt.err, &failure) && (!strings.Contains(failure.Details, `"repo":"alice/`) ||
			strings.Contains(tt.err.Error(), failure.Details) || !strings.HasPrefix(tt.err.Error(), "xet error ")) {
			t.Errorf("%s: %v, %s", tt.name, tt.err, failure.Details)
		}
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 && entries[0].Name() != ".cache" {
		t.Error(entries, err)
	}
}

// A context ends a download; what had come is kept, goes on in the next one, and its notes go when that is through.
func TestCancel(t *testing.T) {
	client := alice(t)
	folder := t.TempDir()
	request := &xet.SnapshotRequest{RepoID: modelRepo, LocalDir: folder}
	hub.Fault(t, "storage", testhub.Object{"stall_after_bytes": 100_000})
	for _, tt := range []struct {
		code int
		is   error
		end  func(context.Context) (context.Context, context.CancelFunc)
	}{
		{7, context.Canceled, context.WithCancel},
		{9, context.DeadlineExceeded, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}},
	} {
		ctx, cancel := tt.end(t.Context())
		defer cancel()
		err := client.SetProgressHandler(func(u xet.ProgressUpdate) {
			if tt.code == 7 && u.CompletedFiles > 0 {
				cancel()
			}
		}, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.DownloadSnapshotWithContext(ctx, request); code(err) != tt.code || !errors.Is(err, tt.is) {
			t.Errorf("%d, %v", code(err), err)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, ".cache", "huggingface", "download")); err != nil {
		t.Error("nothing is noted of what had come:", err)
	}
	if err := hub.Request("DELETE", "/_hub/faults", nil); err != nil {
		t.Fatal(err)
	}
	var none context.Context // which OME's callers may give
	if _, err := client.DownloadSnapshotWithContext(none, request); err != nil {
		t.Fatal(err)
	}
	holds(t, folder, all()...)
}

// In a home folder .cache/huggingface has more than the notes of a download: all of that stays. And so do notes while
// somebody else has a file in the making.
func TestNotes(t *testing.T) {
	client := alice(t)
	folder := t.TempDir()
	cache := filepath.Join(folder, ".cache", "huggingface")
	kept := []string{filepath.Join(cache, "token"), filepath.Join(cache, "hub", "models--a--b", "refs", "main")}
	for _, path := range kept {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	request := &xet.DownloadRequest{RepoID: modelRepo, Filename: "config.json", LocalDir: folder}
	download := func() {
		t.Helper()
		if _, err := client.DownloadFile(request); err != nil {
			t.Fatal(err)
		}
	}
	download()
	for _, path := range kept {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	downloads := filepath.Join(cache, "download")
	if _, err := os.Stat(downloads); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	others := filepath.Join(downloads, "x.abc.incomplete")
	if err := errors.Join(os.MkdirAll(downloads, 0o755), os.WriteFile(others, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	download()
	if _, err := os.Stat(others); err != nil {
		t.Error(err)
	}
}

// Downloads into one folder don't take each other's notes, and the last one tidies up.
func TestOneFolder(t *testing.T) {
	client := alice(t)
	folder := t.TempDir()
	var group sync.WaitGroup
	for range 3 {
		for name := range model {
			group.Add(1)
			go func() {
				defer group.Done()
				request := &xet.DownloadRequest{RepoID: modelRepo, Filename: name, LocalDir: folder}
				if _, err := client.DownloadFile(request); err != nil {
					t.Error(name, err)
				}
			}()
		}
	}
	group.Wait()
	holds(t, folder, all()...)
}

// A handler's panic comes out of the call, and leaves the folder as a failure does.
func TestPanic(t *testing.T) {
	client := alice(t)
	folder := t.TempDir()
	request := &xet.SnapshotRequest{RepoID: modelRepo, LocalDir: folder}
	if err := client.SetProgressHandler(func(xet.ProgressUpdate) { panic("no progress") }, 0); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if reason := recover(); reason != "no progress" {
				t.Error(reason)
			}
		}()
		_, err := client.DownloadSnapshot(request)
		t.Error("it went on:", err)
	}()
	if err := client.DisableProgress(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DownloadSnapshot(request); err != nil {
		t.Fatal(err)
	}
	holds(t, folder, all()...)
}

// What can't be done is refused, by the name of what is wrong.
func TestRefused(t *testing.T) {
	client := alice(t)
	var nobody *xet.Client
	config := func(change func(*xet.DownloadConfig)) error {
		c := &xet.DownloadConfig{RepoID: modelRepo, Endpoint: hub.Endpoint, LocalDir: t.TempDir()}
		change(c)
		_, err := xet.SnapshotDownload(t.Context(), c)
		return err
	}
	_, noConfig := xet.HfHubDownload(t.Context(), nil)
	_, noRequest := client.DownloadFile(nil)
	_, noSnapshot := client.DownloadSnapshot(nil)
	_, noFolder := client.DownloadSnapshot(&xet.SnapshotRequest{RepoID: modelRepo})
	_, noFile := client.DownloadFile(&xet.DownloadRequest{RepoID: modelRepo})
	_, noLevel := xet.NewClient(&xet.Config{LogLevel: "loud"})
	_, noClient := nobody.ListFiles(modelRepo, "")
	_, noClientFile := nobody.DownloadFile(&xet.DownloadRequest{RepoID: modelRepo, Filename: "config.json"})
	noProgress := nobody.DisableProgress()
	if err := errors.Join(client.Close(), client.Close(), nobody.Close()); err != nil {
		t.Error(err)
	}
	_, closed := client.ListFiles(modelRepo, "")
	for field, err := range map[string]error{
		"config": noConfig, "request": noRequest, "request: is": noSnapshot, "local_dir": noFolder, "filename": noFile,
		"log_level": noLevel, "client": closed, "closed client": noClient, "a closed client": noClientFile,
		"operation on a closed client": noProgress,
		"max_workers":                  config(func(c *xet.DownloadConfig) { c.MaxWorkers = -1 }),
		"etag_timeout":                 config(func(c *xet.DownloadConfig) { c.EtagTimeout = -1 }),
		"force_filename":               config(func(c *xet.DownloadConfig) { c.ForceFilename = "x" }),
		"proxies_auth":                 config(func(c *xet.DownloadConfig) { c.ProxiesAuth = map[string]string{"a": "b"} }),
	} {
		if code(err) != 1 || !errors.Is(err, native.ErrInvalidConfig) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if !errors.Is(closed, native.ErrClosed) {
		t.Error(closed)
	}
	var none xet.XetError
	if none.Unwrap() != nil {
		t.Error(none.Unwrap())
	}
}

// Where a DownloadConfig names neither Hub, token nor cache, they come from the environment; otherwise no token does.
func TestEnvironment(t *testing.T) {
	t.Setenv("HF_ENDPOINT", hub.Endpoint)
	t.Setenv("HF_TOKEN", testhub.AliceToken)
	t.Setenv("HF_XET_CACHE", t.TempDir())
	config := &xet.DownloadConfig{RepoID: gatedRepo, Filename: "secret.txt", LocalDir: t.TempDir(), ForceDownload: true}
	if _, err := xet.HfHubDownload(t.Context(), config); err != nil {
		t.Error(err)
	}
	config.CacheDir = t.TempDir()
	if _, err := xet.HfHubDownload(t.Context(), config); code(err) != 5 {
		t.Error(err)
	}
	config.LocalFilesOnly, config.LocalDir = true, ""
	if _, err := xet.HfHubDownload(t.Context(), config); !errors.Is(err, native.ErrLocalEntryNotFound) {
		t.Error(err)
	}
}

// The console's line ends with the download.
func TestConsoleProgress(t *testing.T) {
	client := alice(t)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = out
	err = enableProgress(client, "direct", time.Millisecond)
	os.Stdout = stdout
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DownloadSnapshot(&xet.SnapshotRequest{RepoID: modelRepo, LocalDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	lines := strings.Split(strings.TrimRight(string(text), " "), "\r")
	last := lines[len(lines)-1]
	if err != nil || !strings.HasPrefix(last, "[direct] finalizing: 100.0%, 6 of 6 files") ||
		!strings.HasSuffix(last, "\n") || strings.Count(string(text), "\n") != 1 {
		t.Errorf("%v, %q", err, text)
	}
}

// What a download notes stays if another one into its folder has failed meanwhile: its caller will try again.
func TestFailureKeepsNotes(t *testing.T) {
	client, other := alice(t), alice(t)
	folder := t.TempDir()
	failed := false
	err := client.SetProgressHandler(func(xet.ProgressUpdate) {
		if !failed {
			failed = true
			request := &xet.DownloadRequest{RepoID: modelRepo, Filename: "none", LocalDir: folder}
			if _, err := other.DownloadFile(request); !errors.Is(err, native.ErrEntryNotFound) {
				t.Error(err)
			}
		}
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	request := &xet.DownloadRequest{RepoID: modelRepo, Filename: "config.json", LocalDir: folder}
	for _, want := range []error{nil, fs.ErrNotExist} {
		if _, err := client.DownloadFile(request); err != nil || !failed {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(folder, ".cache")); !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
}
