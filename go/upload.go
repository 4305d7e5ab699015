package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// uploadRequest is what the options of an upload, or of CreateRepo, come to.
type uploadRequest struct {
	message, description, parent, pathInRepo, spaceSDK string
	deletions                                          []string
	flags, repoFlags                                   C.uint32_t
}

// WithCommitMessage sets the title of the commit. Default: one that says what it does.
func WithCommitMessage(message string) Option {
	return func(r *request) { r.upload.message, r.forUploads = message, "commit_message" }
}

// WithCommitDescription sets the rest of the commit's message.
func WithCommitDescription(description string) Option {
	return func(r *request) {
		r.upload.description, r.forUploads = description, "commit_description"
	}
}

// WithCreatePR opens a pull request instead; the right to read the repo is enough.
func WithCreatePR() Option {
	return func(r *request) {
		r.upload.flags |= C.XET_COMMIT_CREATE_PR
		r.forUploads = "create_pr"
	}
}

// WithParentCommit names the commit that the revision must still stand for: else ErrConflict.
func WithParentCommit(commit string) Option {
	return func(r *request) { r.upload.parent, r.forUploads = commit, "parent_commit" }
}

// WithPathInRepo puts a folder below this path. Default: the root of the repo.
func WithPathInRepo(path string) Option {
	return func(r *request) { r.upload.pathInRepo, r.forFolders = path, "path_in_repo" }
}

// WithDeletePatterns deletes the files of the repo, by their paths below that of WithPathInRepo, that
// match one of the patterns and that the folder doesn't bring again.
func WithDeletePatterns(patterns ...string) Option {
	return func(r *request) { r.upload.deletions, r.forFolders = patterns, "delete_patterns" }
}

// WithPrivate says who may see a new repo. Default: as its namespace has it.
func WithPrivate(private bool) Option {
	return func(r *request) {
		r.upload.repoFlags &^= C.XET_CREATE_REPO_PRIVATE | C.XET_CREATE_REPO_PUBLIC
		if private {
			r.upload.repoFlags |= C.XET_CREATE_REPO_PRIVATE
		} else {
			r.upload.repoFlags |= C.XET_CREATE_REPO_PUBLIC
		}
		r.forRepos = "private"
	}
}

// WithExistOK takes a repo that exists for as good as a new one. Without it: ErrConflict.
func WithExistOK() Option {
	return func(r *request) {
		r.upload.repoFlags |= C.XET_CREATE_REPO_EXIST_OK
		r.forRepos = "exist_ok"
	}
}

// WithSpaceSDK says what a new space is made with, such as "static".
func WithSpaceSDK(sdk string) Option {
	return func(r *request) { r.upload.spaceSDK, r.forRepos = sdk, "space_sdk" }
}

// check refuses options that a call, as it is named in the error, can't have.
func (r *request) check(call string, downloads, uploads, repos bool) error {
	refuse := func(option, kind string) error {
		return invalid(option, fmt.Sprintf("is an option of %s, not of %s", kind, call))
	}
	switch {
	case r.forDownloads != "" && !downloads:
		return refuse(r.forDownloads, "downloads")
	case r.forUploads != "" && !uploads:
		return refuse(r.forUploads, "uploads")
	case r.forFolders != "" && !uploads:
		return refuse(r.forFolders, "UploadFolder")
	case r.forRepos != "" && !repos:
		return refuse(r.forRepos, "CreateRepo")
	}
	return nil
}

// checkCommit refuses options that are for uploads of folders only.
func (r *request) checkCommit() error {
	if err := r.check("a commit", false, true, false); err != nil {
		return err
	}
	option := r.forFolders
	switch {
	case r.allow != nil:
		option = "allow_patterns"
	case r.ignore != nil:
		option = "ignore_patterns"
	}
	if option != "" {
		return invalid(option, "is an option of UploadFolder, not of a commit")
	}
	return nil
}

// UploadFile uploads one file, in a commit of its own. Content that the Hub has already isn't sent,
// whatever file it is in there. A file that changes while it is read is an error of kind
// "source_changed", and nothing is committed. When the context is cancelled or its deadline passes,
// it returns within 100 ms.
func (c *Client) UploadFile(
	ctx context.Context, repoID, pathInRepo, localPath string, options ...Option,
) (*Commit, error) {
	return c.CreateCommit(ctx, repoID, []Operation{AddFile(pathInRepo, localPath)}, options...)
}

// CreateCommit makes one commit of several changes: all of them, or none. It takes WithRepoType,
// WithRevision, WithCommitMessage, WithCommitDescription, WithCreatePR, WithParentCommit,
// WithProgress and WithDeadlines.
func (c *Client) CreateCommit(
	ctx context.Context, repoID string, operations []Operation, options ...Option,
) (*Commit, error) {
	request := newRequest(options)
	if err := request.checkCommit(); err != nil {
		return nil, err
	}
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
		return nil, changes.explain(err)
	}
	return newCommit(report), nil
}

// UploadFolder uploads a folder, in several commits if it is large. Files that the Hub has already
// are left out, and so are .git and .cache/huggingface folders. After an error or a kill, the same
// call goes on where the last one was. It takes what CreateCommit takes, WithPathInRepo,
// WithAllowPatterns, WithIgnorePatterns and WithDeletePatterns.
func (c *Client) UploadFolder(
	ctx context.Context, repoID, folder string, options ...Option,
) (*Commit, error) {
	request := newRequest(options)
	if err := request.check("UploadFolder", false, true, false); err != nil {
		return nil, err
	}
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

// CreateRepo creates a repo, "name" (in the namespace of the token) or "namespace/name". It takes
// WithRepoType, WithPrivate, WithExistOK, WithSpaceSDK and WithDeadlines.
func (c *Client) CreateRepo(ctx context.Context, repoID string, options ...Option) (*Repo, error) {
	request := newRequest(options)
	if err := request.check("CreateRepo", false, false, true); err != nil {
		return nil, err
	}
	var args arena
	defer args.free()
	native := C.XetCreateRepoOptions{
		struct_size: C.sizeof_XetCreateRepoOptions,
		flags:       request.upload.repoFlags,
		repo_id:     args.text("repo_id", repoID),
		repo_type:   args.text("repo_type", string(request.repoType)),
		space_sdk:   args.text("space_sdk", request.upload.spaceSDK),
		deadlines:   args.deadlines(request.deadlines),
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

// operationArray is an array of operations in C memory. The bytes of AddBytes are Go memory, pinned
// while C may read them; the readers of AddReader cross as numbers.
type operationArray struct {
	pinner  *runtime.Pinner
	streams []*stream
	numbers []cgo.Handle
}

func (o *operationArray) fill(
	args *arena, operations []Operation,
) (**C.XetOperation, C.size_t) {
	count := len(operations)
	// One more than needed: a block of size 0 could be NULL.
	pointers := (**C.XetOperation)(args.block(
		uintptr(count+1) * unsafe.Sizeof((*C.XetOperation)(nil)),
	))
	structs := (*C.XetOperation)(args.block(uintptr(count+1) * C.sizeof_XetOperation))
	array := unsafe.Slice(structs, count+1)
	for i, operation := range operations {
		native := &array[i]
		unsafe.Slice(pointers, count+1)[i] = native
		field := func(name string) string { return fmt.Sprintf("operations[%d].%s", i, name) }
		*native = C.XetOperation{
			struct_size:  C.sizeof_XetOperation,
			kind:         operation.kind,
			path_in_repo: args.given(field("path_in_repo"), operation.pathInRepo),
			local_path:   args.text(field("local_path"), operation.localPath),
			src_path:     args.text(field("src_path"), operation.srcPath),
			src_revision: args.text(field("src_revision"), operation.srcRevision),
		}
		switch operation.kind {
		case C.XET_OPERATION_ADD_BYTES:
			if len(operation.data) > 0 {
				o.pinner.Pin(&operation.data[0])
				native.data = unsafe.Pointer(&operation.data[0])
				native.data_len = C.size_t(len(operation.data))
			}
		case C.XET_OPERATION_ADD_STREAM:
			if operation.reader == nil {
				args.refuse(field("reader"), "is nil")
				break
			}
			reading := &stream{reader: operation.reader}
			number := cgo.NewHandle(reading)
			nativeCreated()
			o.streams, o.numbers = append(o.streams, reading), append(o.numbers, number)
			C.xetgo_read_from(native, C.uintptr_t(number))
		}
	}
	return pointers, C.size_t(count)
}

// belongTo says which call reads from the streams.
func (o *operationArray) belongTo(c *call) {
	for _, reading := range o.streams {
		reading.call = c
	}
}

// explain returns the error of a call that a reader has ended.
func (o *operationArray) explain(err error) error {
	cause := failure(o.streams)
	failed, ok := err.(*Error)
	if cause == nil || !ok || failed.Code != CodeCancelled {
		return err
	}
	return &Error{
		Code:    CodeIOError,
		Message: "a reader broke: " + cause.Error(),
		Details: Details{Kind: "io", Repo: failed.Repo},
		causes:  []error{cause},
	}
}

func (o *operationArray) free() {
	o.pinner.Unpin()
	for _, number := range o.numbers {
		number.Delete()
		nativeReleased()
	}
}
