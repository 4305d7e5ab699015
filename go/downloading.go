package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"time"
)

// DownloadFile downloads one file, by its path in the repo, into the cache or a local dir. When the
// context is cancelled or its deadline passes, it returns within 100 ms.
func (c *Client) DownloadFile(
	ctx context.Context, repoID, filename string, options ...FileOption,
) (*Transfer, error) {
	return c.download(ctx, repoID, &filename, newRequest(options))
}

// DownloadSnapshot downloads the files of a revision into the cache or a local dir. When the context
// is cancelled or its deadline passes, it returns within 100 ms.
func (c *Client) DownloadSnapshot(
	ctx context.Context, repoID string, options ...SnapshotOption,
) (*Transfer, error) {
	return c.download(ctx, repoID, nil, newRequest(options))
}

func (c *Client) download(
	ctx context.Context, repoID string, filename *string, request *request,
) (*Transfer, error) {
	var args arena
	defer args.free()
	native := request.native(&args, repoID)
	native.timeout_ms = timeout(ctx)
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

// Transfer is the report of a finished download.
type Transfer struct {
	// Path is the file, the snapshot folder, or the local dir; absolute.
	Path string `json:"path"`
	// Files says how many files the call was about, and BytesTotal how large they are.
	Files      int   `json:"files"`
	BytesTotal int64 `json:"bytes_total"`
	// BytesNetwork was received as file content, as sent: with Xet's compression, without HTTP
	// headers and listings.
	BytesNetwork int64 `json:"bytes_network"`
	// BytesReused is content that was on this machine already.
	BytesReused int64 `json:"bytes_reused"`
	// Retries counts requests that were made again.
	Retries int `json:"retries"`
	// Fallbacks counts files fetched another way than the Hub proposed first.
	Fallbacks int `json:"fallbacks"`
	// Stalls counts streams that stalled, or only trickled, and were given up for another.
	Stalls int `json:"stalls"`
	// Refreshes counts tokens and signed URLs that were refused, and fetched anew.
	Refreshes int `json:"refreshes"`
	// Refetches counts ranges fetched again because the hash of a complete file was wrong.
	Refetches int `json:"refetches"`
	// Seconds is the wall time of the call.
	Seconds float64 `json:"seconds"`
	// Commit is the commit that the revision stands for.
	Commit string `json:"commit"`
	// FileTransfers says of each file what it took and which way it came, in the order of the listing.
	FileTransfers []FileTransfer `json:"file_transfers"`
	// SourcesDropped counts files on this machine that were to be reused and had changed, shrunk,
	// rotted or gone.
	SourcesDropped int `json:"sources_dropped"`
	// BytesShared was received from the cache that nodes share, as stored there; it isn't in
	// BytesNetwork.
	BytesShared int64 `json:"bytes_shared"`
	// TierErrors counts how often that cache failed, or gave something that is damaged: storage took
	// its place.
	TierErrors int64 `json:"tier_errors"`
}

// Duration is the wall time of the call.
func (t *Transfer) Duration() time.Duration {
	return time.Duration(t.Seconds * float64(time.Second))
}

// Way is how a file's content came. WayLocal: none of it over the network; the file was on this
// machine, or is empty. WayXetThenHTTP: Xet failed, and plain HTTP brought in what was missing.
// WayShared: from the cache that nodes share, and nothing of it from elsewhere over the network.
type Way string

// FileTransfer is what one file of a finished download took.
type FileTransfer struct {
	// Path is relative to the repo, with "/".
	Path string `json:"path"`
	Way  Way    `json:"way"`
	// The numbers are as in Transfer, which holds the sums. Its retries are also those of no single
	// file.
	BytesTotal   int64 `json:"bytes_total"`
	BytesNetwork int64 `json:"bytes_network"`
	BytesReused  int64 `json:"bytes_reused"`
	Retries      int   `json:"retries"`
	Fallbacks    int   `json:"fallbacks"`
	// LocalPath is where the file is now: in the snapshot folder, or in the local dir; absolute.
	LocalPath string `json:"local_path"`
	// Hash is that of its content, as the Hub published it; empty if HashKind is HashKindNone.
	Hash     string   `json:"hash,omitempty"`
	HashKind HashKind `json:"hash_kind"`
	// Verified: this call has hashed the content, and it had that hash. Otherwise the file was in its
	// place already, and nobody has read it again; CacheVerify does.
	Verified bool `json:"verified"`
	// BytesShared was received from the cache that nodes share, as stored there.
	BytesShared int64 `json:"bytes_shared"`
}

// HashKind is which hash the Hub published for a file. HashKindGitBlob is SHA-1 of git's header and the
// content; HashKindXet is the Merkle hash of the content; HashKindNone: without the Hub, and the
// cache doesn't say.
type HashKind string
