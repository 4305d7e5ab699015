package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"time"
)

// CacheUsage says how much the Hub cache takes, and what is in $HF_XET_CACHE beside it.
type CacheUsage struct {
	Repos     int64 `json:"repos"`
	Revisions int64 `json:"revisions"`
	// Files are contents, each counted once, however many revisions have it; Bytes is what they take.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// BytesUnreferenced is what of Bytes no ref leads to.
	BytesUnreferenced int64 `json:"bytes_unreferenced"`
	// BytesPartial is what interrupted downloads have left, for the next attempt; those of storages in
	// $HF_XET_CACHE, too.
	BytesPartial int64 `json:"bytes_partial"`
	// IndexBytes is what the index of chunks takes on the disk, in $HF_XET_CACHE; it knows
	// IndexedFiles, in this cache and elsewhere, with IndexedBytes.
	IndexBytes   int64 `json:"index_bytes"`
	IndexedFiles int64 `json:"indexed_files"`
	IndexedBytes int64 `json:"indexed_bytes"`
	// ReadBytes is what chunks that were read in place take on the disk, in $HF_XET_CACHE/xet-ffi/read; no part
	// of Bytes. XET_FFI_READ_CACHE_BYTES is the most that they may take.
	ReadBytes int64 `json:"read_bytes"`
}

// CacheItem is a file, and what was found or done.
type CacheItem struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Bytes  int64  `json:"bytes"`
}

// CacheReport is what came of a look at the cache.
type CacheReport struct {
	// Files were hashed, removed or indexed; Bytes is what they have, or what is free now.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// Items are the files that are damaged, were removed, or were left out; each method says which come
	// first.
	Items []CacheItem `json:"items"`
}

// PruneLimits choose from what nothing refers to, and from what was read in place. At least one has to be set.
type PruneLimits struct {
	// Unreferenced chooses all of it, except what was read in place, which has a limit of its own.
	Unreferenced bool
	// OlderThan chooses what was not used for that long, or, if it was read in place, not written; 0: age
	// doesn't matter.
	OlderThan time.Duration
	// MaxBytes chooses what was read in place, the oldest first, and then what was not used for longest, until
	// all has at most so many bytes: Bytes, BytesPartial and ReadBytes together.
	MaxBytes *int64
	// DryRun only says what would go.
	DryRun bool
}

// Removal names a repo, or revisions of it, that are to go from the cache.
type Removal struct {
	// RepoID is "namespace/name" or "name"; RepoType is RepoTypeModel if empty.
	RepoID   string
	RepoType RepoType
	// Commits are its revisions, each as a whole commit; nil: all of them, and the repo.
	Commits []string
	// DryRun only says what would go.
	DryRun bool
}

// CacheUsage adds up what is in the cache, in the index, and of what was read in place.
func (c *Client) CacheUsage(ctx context.Context, options ...CacheOption) (*CacheUsage, error) {
	var usage *C.XetCacheUsage
	defer func() { C.xet_cache_usage_free(usage) }()
	err := c.cache(ctx, C.XetCacheOptions{}, options, func(call *cacheCall) *C.XetError {
		return C.xetgo_cache_usage(
			call.client, &call.options, call.number, call.progress, call.interval, &usage,
		)
	})
	if err != nil {
		return nil, err
	}
	return newCacheUsage(usage), nil
}

// CacheVerify hashes everything in the cache again. The items are the files that are damaged; they
// stay as they are, but aren't reused any more. Behind those are links of revisions to content that
// isn't there; the last items are what can't be read, and links that lead out of the cache, which aren't
// followed: their reasons say so. What was read in place isn't looked at: each chunk is hashed whenever it's used.
func (c *Client) CacheVerify(ctx context.Context, options ...CacheOption) (*CacheReport, error) {
	return c.cacheReport(ctx, C.XETGO_CACHE_VERIFY, C.XetCacheOptions{}, options)
}

// CacheRemove removes revisions of a repo, with the refs that name them, or the repo, and returns what
// went. Contents that others have stay, and so does what was read in place, of which nothing says whose it is:
// CachePrune removes it. A repo that anybody downloads into stays whole: that is ErrConflict.
// The first Files items are what was removed; those after them can't be, and their reasons say why.
func (c *Client) CacheRemove(
	ctx context.Context, what Removal, options ...CacheOption,
) (*CacheReport, error) {
	var args arena
	defer args.free()
	native := C.XetCacheOptions{
		repo_id:   args.text("repo_id", what.RepoID),
		repo_type: args.text("repo_type", string(what.RepoType)),
	}
	native.commits, native.commits_len = args.texts("commits", what.Commits)
	if what.DryRun {
		native.flags |= C.XET_CACHE_DRY_RUN
	}
	if args.err != nil {
		return nil, args.err
	}
	return c.cacheReport(ctx, C.XETGO_CACHE_REMOVE, native, options)
}

// CachePrune removes what nothing refers to, and returns what went: what interrupted downloads have
// left, contents that no revision has, revisions that no ref names, shared contents that no repo
// has. It is safe while downloads run, and what huggingface_hub considers referenced stays. So does a
// revision that was made or changed in the last ten minutes, even if no ref names it. By age and by size, what was
// read in place goes, too, for all caches that share $HF_XET_CACHE.
//
// The first Files items are what was removed. Those after them could have gone and were kept: they are
// in use, that young, or can't be removed.
func (c *Client) CachePrune(
	ctx context.Context, limits PruneLimits, options ...CacheOption,
) (*CacheReport, error) {
	var native C.XetCacheOptions
	if limits.Unreferenced {
		native.flags |= C.XET_CACHE_UNREFERENCED
	}
	if limits.DryRun {
		native.flags |= C.XET_CACHE_DRY_RUN
	}
	if limits.MaxBytes != nil {
		if *limits.MaxBytes < 0 {
			return nil, invalid("max_bytes", "is negative")
		}
		native.flags |= C.XET_CACHE_MAX_BYTES
		native.max_bytes = C.uint64_t(*limits.MaxBytes)
	}
	if limits.OlderThan != 0 {
		if limits.OlderThan < time.Second {
			return nil, invalid("older_than", "is less than a second")
		}
		native.older_than_s = C.uint64_t(limits.OlderThan / time.Second)
	}
	return c.cacheReport(ctx, C.XETGO_CACHE_PRUNE, native, options)
}

// CacheIndex makes what is in the cache known to the reuse index, such as what huggingface_hub put
// there; with rebuild it begins with an empty one. The items are files that were left out, and files of
// which the CAS couldn't be asked: those serve as wholes only, until the index is rebuilt.
func (c *Client) CacheIndex(
	ctx context.Context, rebuild bool, options ...CacheOption,
) (*CacheReport, error) {
	var native C.XetCacheOptions
	if rebuild {
		native.flags |= C.XET_CACHE_REBUILD
	}
	return c.cacheReport(ctx, C.XETGO_CACHE_INDEX, native, options)
}

func (c *Client) cacheReport(
	ctx context.Context, what C.int, native C.XetCacheOptions, options []CacheOption,
) (*CacheReport, error) {
	var report *C.XetCacheReport
	defer func() { C.xet_cache_report_free(report) }()
	err := c.cache(ctx, native, options, func(call *cacheCall) *C.XetError {
		return C.xetgo_cache(
			what, call.client, &call.options, call.number, call.progress, call.interval, &report,
		)
	})
	if err != nil {
		return nil, err
	}
	return newCacheReport(report), nil
}

// cacheCall is what all calls of the cache hand to C.
type cacheCall struct {
	client   *C.XetClient
	options  C.XetCacheOptions
	number   C.uintptr_t
	progress C.bool
	interval C.uint32_t
}

// cache makes a call of the cache.
func (c *Client) cache(
	ctx context.Context, native C.XetCacheOptions, options []CacheOption,
	function func(*cacheCall) *C.XetError,
) error {
	request := newRequest(options)
	var args arena
	defer args.free()
	native.struct_size = C.sizeof_XetCacheOptions
	native.deadlines = args.deadlines(request.deadlines)
	interval := args.milliseconds("progress_interval", request.interval)
	if args.err != nil {
		return args.err
	}
	progress := request.progress
	return c.run(ctx, "", progress, func(client *C.XetClient, number C.uintptr_t) *C.XetError {
		return function(&cacheCall{client, native, number, C.bool(progress != nil), interval})
	})
}
