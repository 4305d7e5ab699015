package xet_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// A listing has all files with their sizes, kinds and hashes.
func TestListFiles(t *testing.T) {
	files, err := newClient(t).ListFiles(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]xet.FileInfo{}
	for _, file := range files {
		found[file.Path] = file
	}
	for path, content := range model {
		if file := found[path]; file.Size != int64(len(content)) || len(file.Hash) != 40 {
			t.Errorf("%s: %+v", path, file)
		}
	}
	kinds := map[string]xet.FileKind{
		"README.md": xet.FileKindGit, "lfs/old.bin": xet.FileKindLFS,
		"model.safetensors": xet.FileKindXet,
	}
	for path, kind := range kinds {
		file, sum := found[path], sha256.Sum256(model[path])
		if file.Kind != kind {
			t.Errorf("%s is %s, not %s", path, file.Kind, kind)
		}
		if wants := hex.EncodeToString(sum[:]); kind != xet.FileKindGit && file.SHA256 != wants {
			t.Errorf("%s: sha256 %q, not %q", path, file.SHA256, wants)
		}
		if (kind == xet.FileKindGit) != (file.SHA256 == "") {
			t.Errorf("%s: sha256 %q", path, file.SHA256)
		}
		if (kind == xet.FileKindXet) != (len(file.XetHash) == 64) {
			t.Errorf("%s: Merkle hash %q", path, file.XetHash)
		}
	}
}

// A listing says which commit it is of, and that commit has the same files.
func TestList(t *testing.T) {
	client := newClient(t)
	listing, err := client.List(t.Context(), modelRepo)
	if err != nil || listing.Commit != commits[modelRepo] {
		t.Fatalf("%+v, %v", listing, err)
	}
	files, err := client.ListFiles(t.Context(), modelRepo, xet.WithRevision(listing.Commit))
	if err != nil || !slices.Equal(files, listing.Files) {
		t.Errorf("%+v, %v; listed %+v", files, err, listing)
	}
	if listing, err := client.List(t.Context(), "alice/nothing"); listing != nil ||
		!errors.Is(err, xet.ErrRepoNotFound) {
		t.Errorf("%+v, %v", listing, err)
	}
}

// A branch, and nothing, stand for the commit that was published last.
func TestResolve(t *testing.T) {
	client := newClient(t)
	for _, revision := range []string{"", "main", commits[modelRepo], commits[modelRepo][:8]} {
		commit, err := client.Resolve(t.Context(), modelRepo, xet.WithRevision(revision))
		if err != nil || commit != commits[modelRepo] {
			t.Errorf("%q: %q, %v", revision, commit, err)
		}
	}
	commit, err := client.Resolve(t.Context(), datasetRepo, xet.WithRepoType(xet.RepoTypeDataset))
	if err != nil || commit != commits[datasetRepo] {
		t.Errorf("%q, %v", commit, err)
	}
	commit, err = client.Resolve(t.Context(), modelRepo, xet.WithRevision("v9"))
	if commit != "" || !errors.Is(err, xet.ErrRevisionNotFound) {
		t.Errorf("%q, %v", commit, err)
	}
}

// Files of each kind arrive in the cache with their bytes, at the path that the report names.
func TestDownloadFile(t *testing.T) {
	cache := t.TempDir()
	client := newClientWith(t, xet.Config{CacheDir: cache})
	for path, content := range model {
		transfer, err := client.DownloadFile(t.Context(), modelRepo, path)
		if err != nil {
			t.Fatal(err)
		}
		commit := commits[modelRepo]
		place := filepath.Join(cache, "models--alice--model", "snapshots", commit, path)
		if transfer.Path != place || transfer.Commit != commit || transfer.Files != 1 ||
			transfer.BytesTotal != int64(len(content)) {
			t.Errorf("%s: %+v", path, transfer)
		}
		if got, err := os.ReadFile(transfer.Path); err != nil || string(got) != string(content) {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
}

// A snapshot is what was published; asked for again, it comes from this machine.
func TestDownloadSnapshot(t *testing.T) {
	client := newClient(t)
	first, err := client.DownloadSnapshot(t.Context(), modelRepo)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, read(t, first.Path), model)
	if first.BytesNetwork == 0 || first.Duration() <= 0 {
		t.Errorf("%+v", first)
	}
	again, err := client.DownloadSnapshot(t.Context(), modelRepo, xet.WithRevision(first.Commit))
	if err != nil {
		t.Fatal(err)
	}
	if again.Path != first.Path || again.BytesNetwork != 0 ||
		again.BytesReused != first.BytesTotal {
		t.Errorf("%+v", again)
	}
	forced, err := client.DownloadSnapshot(t.Context(), modelRepo, xet.WithForceDownload())
	if err != nil {
		t.Fatal(err)
	}
	if forced.BytesNetwork == 0 {
		t.Errorf("%+v", forced)
	}
}

// Patterns are huggingface_hub's: no slice means everything, an empty one nothing.
func TestPatterns(t *testing.T) {
	all := func(string) bool { return true }
	for name, test := range map[string]struct {
		options []xet.SnapshotOption
		likes   func(string) bool
	}{
		"no patterns": {nil, all},
		"nil slices":  {[]xet.SnapshotOption{xet.WithAllowPatterns(), xet.WithIgnorePatterns()}, all},
		"empty slice": {
			[]xet.SnapshotOption{xet.WithAllowPatterns([]string{}...)}, func(string) bool { return false },
		},
		"allowed": {
			[]xet.SnapshotOption{xet.WithAllowPatterns("*.json", "other/")}, func(path string) bool {
				return strings.HasSuffix(path, ".json") || strings.HasPrefix(path, "other/")
			},
		},
		"ignored": {
			[]xet.SnapshotOption{xet.WithIgnorePatterns("*.bin", "*.safetensors")},
			func(path string) bool {
				return !strings.HasSuffix(path, ".bin") && !strings.HasSuffix(path, ".safetensors")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			options := append(test.options, xet.WithLocalDir(folder))
			if _, err := newClient(t).DownloadSnapshot(t.Context(), modelRepo, options...); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, read(t, folder), only(model, test.likes))
		})
	}
}

// Datasets are listed and downloaded by their type, in the singular and the plural.
func TestRepoTypes(t *testing.T) {
	client := newClient(t)
	for _, repoType := range []xet.RepoType{xet.RepoTypeDataset, "datasets"} {
		files, err := client.ListFiles(t.Context(), datasetRepo, xet.WithRepoType(repoType))
		if err != nil || len(files) != len(dataset)+1 { // and .gitattributes
			t.Errorf("%v, %v", files, err)
		}
		transfer, err := client.DownloadSnapshot(
			t.Context(), datasetRepo, xet.WithRepoType(repoType), nil)
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, read(t, transfer.Path), dataset)
	}
}

// Progress begins at the beginning, never shrinks, and ends with the report's numbers.
func TestProgress(t *testing.T) {
	var all []xet.Progress
	transfer, err := newClient(t).DownloadSnapshot(t.Context(), modelRepo,
		xet.WithProgress(func(p xet.Progress) { all = append(all, p) }),
		xet.WithProgressInterval(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(all); i++ {
		if all[i].BytesCompleted < all[i-1].BytesCompleted || all[i].Phase < all[i-1].Phase ||
			all[i].FilesCompleted < all[i-1].FilesCompleted {
			t.Errorf("%+v came after %+v", all[i], all[i-1])
		}
	}
	last := all[len(all)-1]
	if last.Phase != xet.PhaseFinalizing || last.BytesCompleted != transfer.BytesTotal ||
		last.BytesTotal != transfer.BytesTotal || last.FilesCompleted != transfer.Files ||
		last.BytesNetwork != transfer.BytesNetwork || last.File == "" {
		t.Errorf("%+v, but the report is %+v", last, transfer)
	}
}

// A callback may use the client that is calling it.
func TestCallsNest(t *testing.T) {
	client := newClient(t)
	var files []xet.FileInfo
	var inner error
	_, err := client.DownloadFile(t.Context(), modelRepo, "config.json",
		xet.WithProgress(func(xet.Progress) {
			files, inner = client.ListFiles(context.Background(), modelRepo)
		}))
	if err != nil || inner != nil || len(files) <= len(model) {
		t.Errorf("%v, %v, %d files", err, inner, len(files))
	}
}

// One client serves many goroutines.
func TestManyGoroutines(t *testing.T) {
	client := newClient(t)
	var group sync.WaitGroup
	for i := range 32 {
		group.Add(1)
		go func() {
			defer group.Done()
			if i%2 == 0 {
				if _, err := client.ListFiles(t.Context(), modelRepo); err != nil {
					t.Error(err)
				}
				return
			}
			transfer, err := client.DownloadSnapshot(t.Context(), modelRepo)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := os.ReadFile(filepath.Join(transfer.Path, "config.json")); err != nil ||
				string(got) != string(model["config.json"]) {
				t.Errorf("%q, %v", got, err)
			}
		}()
	}
	group.Wait()
}
