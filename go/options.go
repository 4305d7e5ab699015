package xet

// #include "callbacks.h"
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

// What a method takes. An option that doesn't belong to a method doesn't compile there; nil is no option.
type (
	// ListOption is an option of List, ListFiles and Resolve.
	ListOption interface {
		setting
		forListFiles()
	}
	// FileOption is an option of DownloadFile.
	FileOption interface {
		setting
		forDownloadFile()
	}
	// SnapshotOption is an option of DownloadSnapshot.
	SnapshotOption interface {
		setting
		forDownloadSnapshot()
	}
	// PlanOption is an option of PlanSnapshot.
	PlanOption interface {
		setting
		forPlanSnapshot()
	}
	// CommitOption is an option of CreateCommit and UploadFile.
	CommitOption interface {
		setting
		forCreateCommit()
	}
	// FolderOption is an option of UploadFolder.
	FolderOption interface {
		setting
		forUploadFolder()
	}
	// CacheOption is an option of CacheUsage, CacheVerify, CacheRemove, CachePrune and CacheIndex.
	CacheOption interface {
		setting
		forCache()
	}
	// RepoOption is an option of CreateRepo.
	RepoOption interface {
		setting
		forCreateRepo()
	}
	// BranchOption is an option of CreateBranch.
	BranchOption interface {
		setting
		forCreateBranch()
	}
	// WaitOption is an option of Group.Wait.
	WaitOption interface {
		setting
		forWait()
	}
	// TaskOption is an option of AddFile, AddBytes, AddReader and AddStream of Uploads.
	TaskOption interface {
		setting
		forUploads()
	}
	// HashOption is an option of HashFiles.
	HashOption interface {
		setting
		forHashFiles()
	}
)

// What an option belongs to, where that is more than one method.
type (
	// Option is an option of all methods that are about a repo.
	Option interface {
		RevisionOption
		RepoOption
	}
	// RevisionOption is an option of all of them but CreateRepo.
	RevisionOption interface {
		ListOption
		DownloadOption
		UploadOption
		BranchOption
	}
	// CreateOption is an option of what creates something that may be there.
	CreateOption interface {
		RepoOption
		BranchOption
	}
	// DownloadOption is an option of downloads, and of their plans.
	DownloadOption interface {
		FileOption
		SnapshotOption
		PlanOption
	}
	// UploadOption is an option of commits and of uploads of folders.
	UploadOption interface {
		CommitOption
		FolderOption
	}
	// ProgressOption is an option of all methods that report progress.
	ProgressOption interface {
		FileOption
		SnapshotOption
		UploadOption
		CacheOption
		WaitOption
		HashOption
	}
	// PatternOption is an option of what chooses from many files.
	PatternOption interface {
		SnapshotOption
		PlanOption
		FolderOption
	}
)

// setting is what all options are, and can be made in this package only.
type setting interface{ set(*request) }

// option is every option. Which methods take it is a matter of the interface that its function returns.
type option func(*request)

func (o option) set(r *request) { o(r) }

func (option) forListFiles()        {}
func (option) forDownloadFile()     {}
func (option) forDownloadSnapshot() {}
func (option) forPlanSnapshot()     {}
func (option) forCreateCommit()     {}
func (option) forUploadFolder()     {}
func (option) forCache()            {}
func (option) forCreateRepo()       {}
func (option) forCreateBranch()     {}
func (option) forWait()             {}
func (option) forUploads()          {}
func (option) forHashFiles()        {}

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
	upload        uploadRequest
	task          taskRequest
}

func newRequest[O setting](options []O) *request {
	r := &request{}
	for _, option := range options {
		if any(option) != nil {
			option.set(r)
		}
	}
	return r
}

// WithRepoType chooses datasets or spaces. Default: models.
func WithRepoType(repoType RepoType) Option {
	return option(func(r *request) { r.repoType = repoType })
}

// WithRevision chooses a branch, tag, commit or "refs/pr/N". Default: main.
func WithRevision(revision string) RevisionOption {
	return option(func(r *request) { r.revision = revision })
}

// WithLocalDir downloads real files into a folder. Default: the cache.
func WithLocalDir(dir string) DownloadOption {
	return option(func(r *request) { r.localDir = dir })
}

// WithAllowPatterns takes only files that match one of the patterns. They are those of Python's
// fnmatch, with case; "*" also crosses "/", and "folder/" means everything in it. A nil slice, also
// that of a call without arguments, means all files; an empty one that isn't nil matches nothing, as
// in huggingface_hub.
func WithAllowPatterns(patterns ...string) PatternOption {
	return option(func(r *request) { r.allow = patterns })
}

// WithIgnorePatterns leaves out files that match one of the patterns.
func WithIgnorePatterns(patterns ...string) PatternOption {
	return option(func(r *request) { r.ignore = patterns })
}

// WithProgress reports progress to a function, at most every 50 ms. It runs on the caller's
// goroutine, and the transfer goes on meanwhile. If it panics, the call ends and panics. It must
// not end the goroutine (runtime.Goexit, testing.T.FailNow).
func WithProgress(progress func(Progress)) ProgressOption {
	return option(func(r *request) { r.progress = progress })
}

// WithProgressInterval sets the least time between two reports of progress. The first and the last
// are always made.
func WithProgressInterval(interval time.Duration) ProgressOption {
	return option(func(r *request) { r.interval = interval })
}

// WithLocalFilesOnly uses no network: what isn't on this machine is ErrLocalEntryNotFound.
func WithLocalFilesOnly() interface {
	FileOption
	SnapshotOption
} {
	return option(func(r *request) { r.flags |= C.XET_DOWNLOAD_LOCAL_FILES_ONLY })
}

// WithForceDownload fetches even what is present and intact.
func WithForceDownload() DownloadOption {
	return option(func(r *request) { r.flags |= C.XET_DOWNLOAD_FORCE })
}
