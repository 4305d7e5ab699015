// Package xet lists, downloads and uploads Hugging Face repositories over the Xet protocol.
//
// Every downloaded file is checked against the hash that the Hub published before it gets its name. The cache
// and the environment variables are those of huggingface_hub. It is a thin face of libxet, which
// must be installed with its pkg-config file, xet.pc; with the build tag xet_static the library
// becomes part of the program.
//
//	client, err := xet.NewClient(&xet.Config{})
//	if err != nil { ... }
//	defer client.Close()
//	model, err := client.DownloadSnapshot(ctx, "openai-community/gpt2",
//		xet.WithAllowPatterns("*.json", "*.safetensors"))
//	switch {
//	case errors.Is(err, xet.ErrGatedRepo): ...
//	case err != nil: ...
//	}
//	fmt.Println(model.Path, model.BytesNetwork)
//
// All functions may be called from any goroutine. All errors are *Error.
package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"runtime"
)

// Client is a connection to one Hub with one identity and one cache. It is cheap to make, uses no
// network before its first call, and serves many goroutines at a time.
type Client struct {
	handle *handle
}

// NewClient creates a client. &Config{} means all defaults; a nil config is an error.
func NewClient(config *Config) (*Client, error) {
	if config == nil {
		return nil, invalid("config", "is nil; use &xet.Config{} for the defaults")
	}
	if err := checkABI(); err != nil {
		return nil, err
	}
	if err := followLogger(); err != nil {
		return nil, err
	}
	var args arena
	defer args.free()
	options := config.native(&args)
	if args.err != nil {
		return nil, args.err
	}
	var native *C.XetClient
	stress()
	if err := takeError(C.xet_client_create(&options, &native)); err != nil {
		return nil, err
	}
	client := &Client{newHandle(native)}
	runtime.AddCleanup(client, (*handle).close, client.handle)
	return client, nil
}

// Close closes the client. Calls that other goroutines have begun finish normally; later ones fail
// with ErrClosed. It never waits and always returns nil. Closing twice is fine, and so is not
// closing: the garbage collector does it, too.
func (c *Client) Close() error {
	if c != nil {
		c.handle.close()
	}
	return nil
}

// ListFiles lists the files of a repo, "name" or "namespace/name", in the Hub's order.
// It takes WithRepoType, WithRevision and WithDeadlines.
func (c *Client) ListFiles(
	ctx context.Context, repoID string, options ...Option,
) ([]FileInfo, error) {
	request := newRequest(options)
	if err := request.check("ListFiles", false, false, false); err != nil {
		return nil, err
	}
	if request.notForLists != "" {
		return nil, invalid(request.notForLists, "is an option of downloads, not of ListFiles")
	}
	var args arena
	defer args.free()
	native := C.XetListOptions{
		struct_size: C.sizeof_XetListOptions,
		repo_id:     args.text("repo_id", repoID),
		repo_type:   args.text("repo_type", string(request.repoType)),
		revision:    args.text("revision", request.revision),
		deadlines:   args.deadlines(request.deadlines),
	}
	if args.err != nil {
		return nil, args.err
	}
	var list *C.XetEntryList
	defer func() { C.xet_entry_list_free(list) }()
	err := c.run(ctx, repoID, nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_list_files(client, &native, call, &list)
	})
	if err != nil {
		return nil, err
	}
	return newSlice(list.entries, int(list.count), newFileInfo), nil
}

// DownloadFile downloads one file, by its path in the repo, into the cache or a local dir. When the
// context is cancelled or its deadline passes, it returns within 100 ms.
func (c *Client) DownloadFile(
	ctx context.Context, repoID, filename string, options ...Option,
) (*Transfer, error) {
	return c.download(ctx, repoID, &filename, options)
}

// DownloadSnapshot downloads the files of a revision into the cache or a local dir. When the context
// is cancelled or its deadline passes, it returns within 100 ms.
func (c *Client) DownloadSnapshot(
	ctx context.Context, repoID string, options ...Option,
) (*Transfer, error) {
	return c.download(ctx, repoID, nil, options)
}

// PlanSnapshot finds out what DownloadSnapshot would do with the same options, and changes nothing.
// It asks the Hub, and fetches and hashes no content. Progress isn't reported.
func (c *Client) PlanSnapshot(
	ctx context.Context, repoID string, options ...Option,
) (*Plan, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := request.native(&args, repoID)
	if args.err != nil {
		return nil, args.err
	}
	var plan *C.XetPlan
	defer func() { C.xet_plan_free(plan) }()
	err := c.run(ctx, repoID, nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_plan(client, &native, call, &plan)
	})
	if err != nil {
		return nil, err
	}
	return newPlan(plan), nil
}

func (c *Client) download(
	ctx context.Context, repoID string, filename *string, options []Option,
) (*Transfer, error) {
	request := newRequest(options)
	if err := request.check("downloads", true, false, false); err != nil {
		return nil, err
	}
	var args arena
	defer args.free()
	native := request.native(&args, repoID)
	if filename != nil {
		native.filename = args.given("filename", *filename)
	}
	interval := args.milliseconds("progress_interval", request.interval)
	if args.err != nil {
		return nil, args.err
	}
	var transfer *C.XetTransfer
	defer func() { C.xet_transfer_free(transfer) }()
	progress := request.progress
	err := c.run(ctx, repoID, progress, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_download(
			client, &native, call, C.bool(progress != nil), interval, &transfer,
		)
	})
	if err != nil {
		return nil, err
	}
	return newTransfer(transfer), nil
}

// run is handle.run for a client that may be nil.
func (c *Client) run(
	ctx context.Context, repoID string, progress func(Progress),
	function func(*C.XetClient, C.uintptr_t) *C.XetError,
) error {
	if c == nil {
		return closedError()
	}
	return c.handle.run(ctx, repoID, progress, function)
}

// native returns what files, snapshots and plans have in common.
func (r *request) native(args *arena, repoID string) C.XetDownloadOptions {
	native := C.XetDownloadOptions{
		struct_size: C.sizeof_XetDownloadOptions,
		flags:       r.flags,
		repo_id:     args.text("repo_id", repoID),
		repo_type:   args.text("repo_type", string(r.repoType)),
		revision:    args.text("revision", r.revision),
		local_dir:   args.text("local_dir", r.localDir),
		deadlines:   args.deadlines(r.deadlines),
	}
	native.allow_patterns, native.allow_patterns_len = args.texts("allow_patterns", r.allow)
	native.ignore_patterns, native.ignore_patterns_len = args.texts("ignore_patterns", r.ignore)
	return native
}
