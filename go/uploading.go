package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"runtime"
	"runtime/cgo"
	"time"
)

// uploadRequest is what the options of an upload, or of CreateRepo, come to.
type uploadRequest struct {
	message, description, parent, pathInRepo, spaceSDK string
	deletions                                          []string
	flags, repoFlags                                   C.uint32_t
}

// WithCommitMessage sets the title of the commit. Default: one that says what it does.
func WithCommitMessage(message string) UploadOption {
	return option(func(r *request) { r.upload.message = message })
}

// WithCommitDescription sets the rest of the commit's message.
func WithCommitDescription(description string) UploadOption {
	return option(func(r *request) { r.upload.description = description })
}

// WithCreatePR opens a pull request instead; the right to read the repo is enough.
func WithCreatePR() UploadOption {
	return option(func(r *request) { r.upload.flags |= C.XET_COMMIT_CREATE_PR })
}

// WithParentCommit names the commit that the revision must still stand for: else ErrConflict.
func WithParentCommit(commit string) UploadOption {
	return option(func(r *request) { r.upload.parent = commit })
}

// WithPathInRepo puts a folder below this path. Default: the root of the repo.
func WithPathInRepo(path string) FolderOption {
	return option(func(r *request) { r.upload.pathInRepo = path })
}

// WithDeletePatterns deletes the files of the repo, by their paths below that of WithPathInRepo, that
// match one of the patterns and that the folder doesn't bring again.
func WithDeletePatterns(patterns ...string) FolderOption {
	return option(func(r *request) { r.upload.deletions = patterns })
}

// WithPrivate says who may see a new repo. Default: as its namespace has it.
func WithPrivate(private bool) RepoOption {
	return option(func(r *request) {
		r.upload.repoFlags &^= C.XET_CREATE_REPO_PRIVATE | C.XET_CREATE_REPO_PUBLIC
		if private {
			r.upload.repoFlags |= C.XET_CREATE_REPO_PRIVATE
		} else {
			r.upload.repoFlags |= C.XET_CREATE_REPO_PUBLIC
		}
	})
}

// WithExistOK takes a repo that exists for as good as a new one. Without it: ErrConflict.
func WithExistOK() CreateOption {
	return option(func(r *request) { r.upload.repoFlags |= C.XET_CREATE_REPO_EXIST_OK })
}

// WithSpaceSDK says what a new space is made with, such as "static".
func WithSpaceSDK(sdk string) RepoOption {
	return option(func(r *request) { r.upload.spaceSDK = sdk })
}

// UploadFile uploads one file, in a commit of its own. Content that the Hub has already isn't sent,
// whatever file it is in there. A file that changes while it is read is an error of kind
// "source_changed", and nothing is committed. When the context is cancelled or its deadline passes,
// it returns within 100 ms.
func (c *Client) UploadFile(
	ctx context.Context, repoID, pathInRepo, localPath string, options ...CommitOption,
) (*Commit, error) {
	return c.CreateCommit(ctx, repoID, []Operation{AddFile(pathInRepo, localPath)}, options...)
}

// CreateCommit makes one commit of several changes: all of them, or none.
func (c *Client) CreateCommit(
	ctx context.Context, repoID string, operations []Operation, options ...CommitOption,
) (*Commit, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	changes := operationArray{pinner: new(runtime.Pinner)}
	defer changes.free()
	native := C.XetCommitOptions{
		struct_size:   C.sizeof_XetCommitOptions,
		flags:         request.upload.flags,
		repo_id:       args.text("repo_id", repoID),
		repo_type:     args.text("repo_type", string(request.repoType)),
		revision:      args.text("revision", request.revision),
		message:       args.text("commit_message", request.upload.message),
		description:   args.text("commit_description", request.upload.description),
		parent_commit: args.text("parent_commit", request.upload.parent),
		deadlines:     args.deadlines(request.deadlines),
		timeout_ms:    timeout(ctx),
	}
	native.operations, native.operations_len = changes.fill(&args, operations)
	interval := args.milliseconds("progress_interval", request.interval)
	if args.err != nil {
		return nil, args.err
	}
	var report *C.XetCommitReport
	defer func() { C.xet_commit_report_free(report) }()
	progress := request.progress
	err := c.run(ctx, repoID, progress, func(client *C.XetClient, number C.uintptr_t) *C.XetError {
		changes.belongTo(cgo.Handle(number).Value().(*call))
		return C.xetgo_create_commit(
			client, &native, number, C.bool(progress != nil), interval, &report,
		)
	})
	if err != nil {
		return nil, changes.explain(ctx, repoID, err)
	}
	return newCommit(report), nil
}

// UploadFolder uploads a folder, in several commits if it is large. Files that the Hub has already
// are left out, and so are .git and .cache/huggingface folders. After an error or a kill, the same
// call goes on where the last one was.
func (c *Client) UploadFolder(
	ctx context.Context, repoID, folder string, options ...FolderOption,
) (*Commit, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := C.XetUploadFolderOptions{
		struct_size:   C.sizeof_XetUploadFolderOptions,
		flags:         request.upload.flags,
		repo_id:       args.text("repo_id", repoID),
		repo_type:     args.text("repo_type", string(request.repoType)),
		revision:      args.text("revision", request.revision),
		message:       args.text("commit_message", request.upload.message),
		description:   args.text("commit_description", request.upload.description),
		parent_commit: args.text("parent_commit", request.upload.parent),
		deadlines:     args.deadlines(request.deadlines),
		timeout_ms:    timeout(ctx),
		folder_path:   args.text("folder_path", folder),
		path_in_repo:  args.text("path_in_repo", request.upload.pathInRepo),
	}
	native.allow_patterns, native.allow_patterns_len = args.texts("allow_patterns", request.allow)
	native.ignore_patterns, native.ignore_patterns_len =
		args.texts("ignore_patterns", request.ignore)
	native.delete_patterns, native.delete_patterns_len =
		args.texts("delete_patterns", request.upload.deletions)
	interval := args.milliseconds("progress_interval", request.interval)
	if args.err != nil {
		return nil, args.err
	}
	var report *C.XetCommitReport
	defer func() { C.xet_commit_report_free(report) }()
	progress := request.progress
	err := c.run(ctx, repoID, progress, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_upload_folder(
			client, &native, call, C.bool(progress != nil), interval, &report,
		)
	})
	if err != nil {
		return nil, err
	}
	return newCommit(report), nil
}

// CreateRepo creates a repo, "name" (in the namespace of the token) or "namespace/name".
func (c *Client) CreateRepo(
	ctx context.Context, repoID string, options ...RepoOption,
) (*Repo, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := C.XetCreateRepoOptions{
		struct_size: C.sizeof_XetCreateRepoOptions,
		flags:       request.upload.repoFlags,
		repo_id:     args.text("repo_id", repoID),
		repo_type:   args.text("repo_type", string(request.repoType)),
		space_sdk:   args.text("space_sdk", request.upload.spaceSDK),
		deadlines:   args.deadlines(request.deadlines),
		timeout_ms:  timeout(ctx),
	}
	if args.err != nil {
		return nil, args.err
	}
	var report *C.XetRepoReport
	defer func() { C.xet_repo_report_free(report) }()
	err := c.run(ctx, repoID, nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_create_repo(client, &native, call, &report)
	})
	if err != nil {
		return nil, err
	}
	return newRepo(report), nil
}

// CreateBranch creates a branch of a repo. It begins with main, or with what WithRevision names.
func (c *Client) CreateBranch(
	ctx context.Context, repoID, branch string, options ...BranchOption,
) error {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := C.XetCreateBranchOptions{
		struct_size: C.sizeof_XetCreateBranchOptions,
		repo_id:     args.text("repo_id", repoID),
		repo_type:   args.text("repo_type", string(request.repoType)),
		branch:      args.text("branch", branch),
		revision:    args.text("revision", request.revision),
		deadlines:   args.deadlines(request.deadlines),
		timeout_ms:  timeout(ctx),
	}
	if request.upload.repoFlags&C.XET_CREATE_REPO_EXIST_OK != 0 {
		native.flags |= C.XET_CREATE_BRANCH_EXIST_OK
	}
	if args.err != nil {
		return args.err
	}
	return c.run(ctx, repoID, nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_create_branch(client, &native, call)
	})
}

// Commit is the report of a finished upload. BytesTotal is the sum of BytesNew, BytesOnHub and
// BytesRepeated.
type Commit struct {
	// OID is the commit, the last one if there are several; with nothing to commit, the one that the
	// revision stands for. CommitURL is its page on the Hub.
	OID       string `json:"oid"`
	CommitURL string `json:"commit_url"`
	// PRURL is the page of the pull request that was opened, if one was.
	PRURL string `json:"pr_url,omitempty"`
	// Commits says how many were made; 0: there was nothing to commit.
	Commits int `json:"commits"`
	// Files says how many files the call was about, and FilesChanged how many of them were added or
	// replaced.
	Files        int `json:"files"`
	FilesChanged int `json:"files_changed"`
	// BytesTotal is the content of these files.
	BytesTotal int64 `json:"bytes_total"`
	// BytesNew is content that neither the Hub nor an earlier file of the call had.
	BytesNew int64 `json:"bytes_new"`
	// BytesOnHub is content that the Hub had, in whatever file.
	BytesOnHub int64 `json:"bytes_on_hub"`
	// BytesRepeated is content that stood earlier in the files of the call.
	BytesRepeated int64 `json:"bytes_repeated"`
	// BytesSent was sent as content, as sent: compressed or in base64, with its description for
	// the storage.
	BytesSent int64 `json:"bytes_sent"`
	// Xorbs counts the blocks of Xet storage that were sent.
	Xorbs int `json:"xorbs"`
	// Retries counts requests, and whole sessions with Xet storage, that were made again.
	Retries int `json:"retries"`
	// Seconds is the wall time of the call.
	Seconds float64 `json:"seconds"`
	// FilesLeftOut counts what stands in the folder, selected by the patterns, and is no content:
	// sockets, pipes, devices, links that lead nowhere, links to a folder that they are in. The log
	// names each.
	FilesLeftOut int64 `json:"files_left_out"`
	// DedupAsked counts the chunks of which Xet storage was asked whether it has them from others: the
	// first of a file, and about one in a thousand. DedupAnswered counts those of which it told where
	// it has them, and DedupFailed those about which it said nothing. It doesn't have the rest.
	DedupAsked    int64 `json:"dedup_asked"`
	DedupAnswered int64 `json:"dedup_answered"`
	DedupFailed   int64 `json:"dedup_failed"`
}

// NothingToCommit says whether the Hub had everything already, so that no commit was made.
func (c *Commit) NothingToCommit() bool { return c.Commits == 0 }

// Duration is the wall time of the call.
func (c *Commit) Duration() time.Duration {
	return time.Duration(c.Seconds * float64(time.Second))
}

// Repo is a repo that CreateRepo has made, or found.
type Repo struct {
	// ID is "namespace/name".
	ID string `json:"repo_id"`
	// URL is its page on the Hub.
	URL string `json:"url"`
}
