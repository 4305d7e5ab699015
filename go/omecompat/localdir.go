package omecompat

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// Callers upload, hash and share everything that is in the folder of a snapshot, so it has to hold what is
// in the repo and nothing else. The library notes beside the files what they are, in .cache/huggingface, as
// huggingface_hub does; that goes as soon as nobody needs it to go on where a download ended.

// folders are those that downloads of this process are writing to, by their absolute paths.
var folders = struct {
	mu      sync.Mutex
	written map[string]*writers
}{written: map[string]*writers{}}

// writers are the downloads into one folder, from when it had none until it has none again.
type writers struct {
	running int
	failed  bool
}

// absolute returns the absolute path of a folder for files; empty stays empty. A "~" is a name here as any.
func absolute(localDir string) (string, error) {
	if localDir == "" {
		return "", nil
	}
	folder, err := filepath.Abs(localDir)
	if err != nil {
		return "", invalid("local_dir", err.Error())
	}
	return folder, nil
}

// into makes a download into a folder, or into the cache if that is empty, and returns its path.
func into(folder string, download func() (*xet.Transfer, error)) (string, error) {
	finished := false
	if folder != "" {
		begin(folder)
		defer func() { end(folder, finished) }() // also when a progress handler panics
	}
	transfer, err := download()
	if err != nil {
		return "", convert(err)
	}
	finished = true
	return transfer.Path, nil
}

func begin(folder string) {
	folders.mu.Lock()
	defer folders.mu.Unlock()
	w := folders.written[folder]
	if w == nil {
		w = &writers{}
		folders.written[folder] = w
	}
	w.running++
}

func end(folder string, finished bool) {
	folders.mu.Lock() // until the folder is tidy: who begins waits for that
	defer folders.mu.Unlock()
	w := folders.written[folder]
	w.running--
	w.failed = w.failed || !finished
	if w.running > 0 {
		return
	}
	delete(folders.written, folder)
	if w.failed {
		return
	}
	if err := tidy(folder); err != nil {
		warn("can't remove what the download has noted in its folder", "error", err)
	}
}

// tidy removes the notes of finished downloads from a folder. If there is a download that isn't finished, of
// another process or an earlier one, they stay. In a home folder .cache/huggingface is a cache, too: what
// is in it besides stays in any case.
func tidy(folder string) error {
	notes := filepath.Join(folder, ".cache", "huggingface")
	downloads := filepath.Join(notes, "download")
	unfinished, err := hasUnfinished(downloads)
	if err != nil || unfinished {
		return err
	}
	for _, name := range []string{"download", "trees", "refs"} {
		if err := os.RemoveAll(filepath.Join(notes, name)); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(notes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	own := []string{"CACHEDIR.TAG", ".gitignore"}
	for _, entry := range entries {
		if entry.Name() != own[0] && entry.Name() != own[1] {
			return nil
		}
	}
	if err := os.RemoveAll(notes); err != nil {
		return err
	}
	entries, err = os.ReadDir(filepath.Dir(notes))
	if err != nil || len(entries) > 0 {
		return err
	}
	return os.Remove(filepath.Dir(notes))
}

// hasUnfinished says whether there are files in the making, ours or huggingface_hub's.
func hasUnfinished(downloads string) (bool, error) {
	found := false
	err := filepath.WalkDir(downloads, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".partial") || strings.HasSuffix(path, ".incomplete") {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return found, err
}
