package xet_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// The cache is added up, verified, indexed and pruned.
func TestCache(t *testing.T) {
	client := newClient(t)
	transfer, err := client.DownloadSnapshot(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := client.CacheUsage(t.Context())
	if err != nil || usage.Repos != 1 || usage.Revisions != 1 || usage.Bytes != transfer.BytesTotal {
		t.Errorf("%+v, %v", usage, err)
	}
	var last xet.Progress
	verified, err := client.CacheVerify(t.Context(),
		xet.WithProgress(func(p xet.Progress) { last = p }), xet.WithProgressInterval(time.Millisecond))
	if err != nil || len(verified.Items) != 0 || verified.Files != usage.Files {
		t.Errorf("%+v, %v", verified, err)
	}
	if last.BytesCompleted != usage.Bytes || last.BytesTotal != usage.Bytes {
		t.Errorf("%+v of %+v", last, usage)
	}
	blob, err := filepath.EvalSymlinks(filepath.Join(transfer.Path, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("rotten"), 0o644); err != nil {
		t.Fatal(err)
	}
	verified, err = client.CacheVerify(t.Context())
	if err != nil || len(verified.Items) != 1 || verified.Items[0].Path != blob {
		t.Errorf("%+v, %v", verified, err)
	}
	if _, err := client.CacheIndex(t.Context(), true); err != nil {
		t.Error(err)
	}
	if _, err := client.CachePrune(t.Context(), xet.PruneLimits{}); !errors.Is(err, xet.ErrInvalidConfig) {
		t.Errorf("a limit has to be named: %v", err)
	}
	pruned, err := client.CachePrune(t.Context(), xet.PruneLimits{Unreferenced: true, DryRun: true})
	if err != nil || len(pruned.Items) != 0 {
		t.Errorf("all of it is referenced: %+v, %v", pruned, err)
	}
	_, err = client.CacheIndex(t.Context(), false, xet.WithProgressInterval(-1))
	wantInvalid(t, err, "progress_interval")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.CacheVerify(cancelled); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What was read in place is counted apart, and goes by size, but not as something that nothing refers to.
func TestCacheOfReads(t *testing.T) {
	client := newClient(t)
	file, err := client.Open(t.Context(), xet.OpenRequest{RepoID: modelRepo, Filename: "model.safetensors"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.ReadAt(make([]byte, 1000), 0); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	before, err := client.CacheUsage(t.Context())
	if err != nil || before.ReadBytes < 1000 || before.Bytes != 0 {
		t.Errorf("%+v, %v", before, err)
	}
	pruned, err := client.CachePrune(t.Context(), xet.PruneLimits{Unreferenced: true})
	if err != nil || len(pruned.Items) != 0 {
		t.Errorf("%+v, %v", pruned, err)
	}
	var most int64
	pruned, err = client.CachePrune(t.Context(), xet.PruneLimits{MaxBytes: &most})
	if err != nil || pruned.Files != 1 || pruned.Bytes != before.ReadBytes {
		t.Errorf("%+v, %v", pruned, err)
	}
	after, err := client.CacheUsage(t.Context())
	if err != nil || after.ReadBytes != 0 || after.IndexedFiles != before.IndexedFiles-1 {
		t.Errorf("%+v, %v", after, err)
	}
}

// What is named goes, a revision or all of the repo, and nothing on a dry run.
func TestCacheRemove(t *testing.T) {
	client := newClient(t)
	transfer, err := client.DownloadSnapshot(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	what := xet.Removal{RepoID: modelRepo, Commits: []string{filepath.Base(transfer.Path)}, DryRun: true}
	told, err := client.CacheRemove(t.Context(), what)
	if err != nil || told.Bytes == 0 {
		t.Errorf("%+v, %v", told, err)
	}
	what.DryRun = false
	done, err := client.CacheRemove(t.Context(), what)
	if err != nil || done.Bytes != told.Bytes || done.Files != told.Files {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := os.Stat(transfer.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is still there: %v", transfer.Path, err)
	}
	_, err = client.CacheRemove(t.Context(), xet.Removal{RepoID: modelRepo})
	if !errors.Is(err, xet.ErrNotFound) {
		t.Errorf("%v", err)
	}
}
