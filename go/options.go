package xet

// #include "xet.h"
import "C"

import "time"

// RepoType is the type of a repo.
type RepoType string

// The types of repos. The empty RepoType means RepoTypeModel.
const (
	RepoTypeModel   RepoType = "model"
	RepoTypeDataset RepoType = "dataset"
	RepoTypeSpace   RepoType = "space"
)

// Option is an option of one call.
type Option func(*request)

// request is what the options of a call come to.
type request struct {
	repoType RepoType
	revision string
	localDir string
	// nil is not empty: see WithAllowPatterns.
	allow, ignore []string
	flags         C.uint32_t
	progress      func(Progress)
	interval      time.Duration
	deadlines     Deadlines
	// notForLists is an option that ListFiles can't have.
	notForLists string
	// forDownloads, forUploads, forFolders and forRepos are options that only downloads, uploads,
	// uploads of folders, and CreateRepo can have.
	forDownloads, forUploads, forFolders, forRepos string
	upload                                         uploadRequest
}

func newRequest(options []Option) *request {
	r := &request{}
	for _, option := range options {
		if option != nil {
			option(r)
		}
	}
	return r
}

// WithRepoType chooses datasets or spaces. Default: models.
func WithRepoType(repoType RepoType) Option {
	return func(r *request) { r.repoType = repoType }
}

// WithRevision chooses a branch, tag, commit or "refs/pr/N". Default: main.
func WithRevision(revision string) Option {
	return func(r *request) { r.revision = revision }
}

// WithLocalDir downloads real files into a folder. Default: the cache.
func WithLocalDir(dir string) Option {
	return func(r *request) { r.localDir, r.forDownloads = dir, "local_dir" }
}

// WithAllowPatterns takes only files that match one of the patterns. They are those of Python's
// fnmatch, with case; "*" also crosses "/", and "folder/" means everything in it. A nil slice, also
// that of a call without arguments, means all files; an empty one that isn't nil matches nothing, as
// in huggingface_hub. For snapshots, and for uploads of folders.
func WithAllowPatterns(patterns ...string) Option {
	return func(r *request) { r.allow, r.notForLists = patterns, "allow_patterns" }
}

// WithIgnorePatterns leaves out files that match one of the patterns. For snapshots, and for
// uploads of folders.
func WithIgnorePatterns(patterns ...string) Option {
	return func(r *request) { r.ignore, r.notForLists = patterns, "ignore_patterns" }
}

// WithProgress reports progress to a function, at most every 50 ms. It runs on the caller's
// goroutine, and the transfer goes on meanwhile. If it panics, the call ends and panics. It must
// not end the goroutine (runtime.Goexit, testing.T.FailNow).
func WithProgress(progress func(Progress)) Option {
	return func(r *request) { r.progress, r.notForLists = progress, "progress" }
}

// WithProgressInterval sets the least time between two reports of progress. The first and the last
// are always made.
func WithProgressInterval(interval time.Duration) Option {
	return func(r *request) { r.interval, r.notForLists = interval, "progress_interval" }
}

// WithLocalFilesOnly uses no network: what isn't on this machine is ErrLocalEntryNotFound.
func WithLocalFilesOnly() Option {
	return func(r *request) {
		r.flags |= C.XET_DOWNLOAD_LOCAL_FILES_ONLY
		r.forDownloads = "local_files_only"
	}
}

// WithForceDownload fetches even what is present and intact.
func WithForceDownload() Option {
	return func(r *request) {
		r.flags |= C.XET_DOWNLOAD_FORCE
		r.forDownloads = "force_download"
	}
}
