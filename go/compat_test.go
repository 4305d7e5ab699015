package xet_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// The functions that services know do what their names say, on all repo types.
func TestCompat(t *testing.T) {
	config := xet.DownloadConfig{
		RepoID: modelRepo, RepoType: "models", Endpoint: hub.Endpoint, Token: aliceToken,
		CacheDir: t.TempDir(), Filename: "config.json", MaxWorkers: 4,
	}
	path, err := xet.HfHubDownload(t.Context(), &config)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(model["config.json"]) {
		t.Errorf("%q, %v", got, err)
	}

	files, err := xet.ListRepoFiles(t.Context(), &config)
	if err != nil || len(files) != len(model)+1 { // and .gitattributes
		t.Errorf("%d files, %v", len(files), err)
	}

	snapshot := config
	snapshot.LocalDir = t.TempDir()
	snapshot.AllowPatterns = []string{"*.json", "*.txt"}
	snapshot.IgnorePatterns = []string{"nested/*"}
	var last xet.Progress
	path, err = xet.SnapshotDownloadWithProgress(t.Context(), &snapshot,
		func(p xet.Progress) { last = p }, time.Millisecond)
	if err != nil || path != snapshot.LocalDir || last.FilesCompleted != 3 {
		t.Errorf("%s, %v, %+v", path, err, last)
	}
	sameFiles(t, read(t, path), only(model, func(path string) bool {
		return !strings.HasPrefix(path, "nested/") &&
			(strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".txt"))
	}))

	data := xet.DownloadConfig{
		RepoID: datasetRepo, RepoType: "dataset", Endpoint: hub.Endpoint, CacheDir: t.TempDir(),
		AllowPatterns: []string{}, // not nil, and yet: all
	}
	path, err = xet.SnapshotDownload(t.Context(), &data)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, read(t, path), dataset)
	data.ForceDownload, data.LocalFilesOnly = false, true
	if _, err := xet.SnapshotDownload(t.Context(), &data); err != nil {
		t.Error(err)
	}
}

// They refuse what the client refuses, in the same words.
func TestCompatErrors(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	config := xet.DownloadConfig{RepoID: modelRepo, Endpoint: hub.Endpoint, CacheDir: t.TempDir()}
	_, err := xet.HfHubDownload(t.Context(), nil)
	wantInvalid(t, err, "config")
	_, err = xet.SnapshotDownload(t.Context(), nil)
	wantInvalid(t, err, "config")
	_, err = xet.ListRepoFiles(t.Context(), nil)
	wantInvalid(t, err, "config")
	_, err = xet.HfHubDownload(t.Context(), &config) // no file name
	wantInvalid(t, err, "filename")
	if _, err := xet.SnapshotDownload(cancelled, &config); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	config.LocalFilesOnly = true
	_, err = xet.SnapshotDownload(t.Context(), &config)
	if !errors.Is(err, xet.ErrLocalEntryNotFound) {
		t.Error(err)
	}
}
