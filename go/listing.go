package xet

// #include "callbacks.h"
import "C"

import "context"

// ListFiles lists the files of a repo, "name" or "namespace/name", in the Hub's order.
func (c *Client) ListFiles(
	ctx context.Context, repoID string, options ...ListOption,
) ([]FileInfo, error) {
	listing, err := c.List(ctx, repoID, options...)
	if err != nil {
		return nil, err
	}
	return listing.Files, nil
}

// List is ListFiles that also says which commit the files are of: a branch may have moved when the
// next call is made, so that one is better made with WithRevision(listing.Commit).
func (c *Client) List(
	ctx context.Context, repoID string, options ...ListOption,
) (*Listing, error) {
	return c.list(ctx, repoID, newRequest(options))
}

func (c *Client) list(ctx context.Context, repoID string, request *request) (*Listing, error) {
	var args arena
	defer args.free()
	native := request.listOptions(&args, repoID)
	native.timeout_ms = timeout(ctx)
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
	return newListing(list), nil
}

// Listing is the files of a repo at a revision.
type Listing struct {
	// Commit is the commit that the revision stands for.
	Commit string `json:"commit"`
	// Files are in the Hub's order.
	Files []FileInfo `json:"files"`
}

// Resolve asks which commit a revision stands for now, and nothing else.
func (c *Client) Resolve(
	ctx context.Context, repoID string, options ...ListOption,
) (string, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := request.listOptions(&args, repoID)
	native.timeout_ms = timeout(ctx)
	if args.err != nil {
		return "", args.err
	}
	var commit *C.char
	defer func() { C.xet_free_string(commit) }()
	err := c.run(ctx, repoID, nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_resolve(client, &native, call, &commit)
	})
	if err != nil {
		return "", err
	}
	return C.GoString(commit), nil
}

func (r *request) listOptions(args *arena, repoID string) C.XetListOptions {
	return C.XetListOptions{
		struct_size: C.sizeof_XetListOptions,
		repo_id:     args.text("repo_id", repoID),
		repo_type:   args.text("repo_type", string(r.repoType)),
		revision:    args.text("revision", r.revision),
		deadlines:   args.deadlines(r.deadlines),
	}
}

// FileKind is how the Hub stores a file.
type FileKind string

// FileInfo is one file of a repo at a revision.
type FileInfo struct {
	// Path is relative to the repo, with "/". It is what the Hub says, which may be a path that can't be
	// written, such as "../x": don't join it to a folder unseen.
	Path string `json:"path"`
	// Size is that of the content, in bytes.
	Size int64 `json:"size"`
	// Hash is the oid of the tree entry: the git blob id (for LFS and Xet files, of the pointer).
	Hash string   `json:"hash"`
	Kind FileKind `json:"kind"`
	// SHA256 is that of the content, as hex; empty for git files.
	SHA256 string `json:"sha256,omitempty"`
	// XetHash is the Merkle hash of the content, as hex; empty unless Kind is FileKindXet.
	XetHash string `json:"xet_hash,omitempty"`
}
