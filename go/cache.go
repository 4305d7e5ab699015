package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"time"
)

// CacheUsage says how much the Hub cache and the reuse index take.
type CacheUsage struct {
	Repos     int64 `json:"repos"`
	Revisions int64 `json:"revisions"`
	// Files are contents, each counted once, however many revisions have it; Bytes is what they take.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// BytesUnreferenced is what of Bytes no ref leads to.
	BytesUnreferenced int64 `json:"bytes_unreferenced"`
	// BytesPartial is what interrupted downloads have left, for the next attempt.
	BytesPartial int64 `json:"bytes_partial"`
	// IndexBytes is what the index of chunks takes on the disk, in $HF_XET_CACHE; it knows
	// IndexedFiles, in this cache and elsewhere, with IndexedBytes.
	IndexBytes   int64 `json:"index_bytes"`
	IndexedFiles int64 `json:"indexed_files"`
	IndexedBytes int64 `json:"indexed_bytes"`
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
	// Items are the files that are damaged, were removed, or were left out.
	Items []CacheItem `json:"items"`
}

// PruneLimits choose from what nothing refers to. At least one has to be set.
type PruneLimits struct {
	// Unreferenced chooses all of it.
	Unreferenced bool
	// OlderThan chooses what was not used for that long; 0: age doesn't matter.
	OlderThan time.Duration
	// MaxBytes chooses what was not used for longest, until the cache has at most so many bytes.
	MaxBytes *int64
	// DryRun only says what would go.
	DryRun bool
}

// CacheUsage adds up what is in the cache, and in the index.
func (c *Client) CacheUsage(ctx context.Context) (*CacheUsage, error) {
	var usage *C.XetCacheUsage
	defer func() { C.xet_cache_usage_free(usage) }()
	err := c.run(ctx, "", nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_cache_usage(client, call, &usage)
	})
	if err != nil {
		return nil, err
	}
	return newCacheUsage(usage), nil
}

// CacheVerify hashes everything in the cache again. The items are the files that are damaged; they
// stay as they are, but aren't reused any more.
func (c *Client) CacheVerify(ctx context.Context) (*CacheReport, error) {
	return c.care(ctx, C.XETGO_CACHE_VERIFY, C.XetCacheOptions{})
}

// CachePrune removes what nothing refers to, and returns what went: what interrupted downloads have
// left, contents that no revision has, revisions that no ref names, shared contents that no repo
// has. It is safe while downloads run, and what huggingface_hub considers referenced stays.
func (c *Client) CachePrune(ctx context.Context, limits PruneLimits) (*CacheReport, error) {
	var options C.XetCacheOptions
	if limits.Unreferenced {
		options.flags |= C.XET_CACHE_UNREFERENCED
	}
	if limits.DryRun {
		options.flags |= C.XET_CACHE_DRY_RUN
	}
	if limits.MaxBytes != nil {
		if *limits.MaxBytes < 0 {
			return nil, invalid("max_bytes", "is negative")
		}
		options.flags |= C.XET_CACHE_MAX_BYTES
		options.max_bytes = C.uint64_t(*limits.MaxBytes)
	}
	if limits.OlderThan != 0 {
		if limits.OlderThan < time.Second {
			return nil, invalid("older_than", "is less than a second")
		}
		options.older_than_s = C.uint64_t(limits.OlderThan / time.Second)
	}
	return c.care(ctx, C.XETGO_CACHE_PRUNE, options)
}

// CacheIndex makes what is in the cache known to the reuse index, such as what huggingface_hub put
// there; with rebuild it begins with an empty one. The items are files that were left out.
func (c *Client) CacheIndex(ctx context.Context, rebuild bool) (*CacheReport, error) {
	var options C.XetCacheOptions
	if rebuild {
		options.flags |= C.XET_CACHE_REBUILD
	}
	return c.care(ctx, C.XETGO_CACHE_INDEX, options)
}

func (c *Client) care(
	ctx context.Context, what C.int, options C.XetCacheOptions,
) (*CacheReport, error) {
	options.struct_size = C.sizeof_XetCacheOptions
	var report *C.XetCacheReport
	defer func() { C.xet_cache_report_free(report) }()
	err := c.run(ctx, "", nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_cache(what, client, &options, call, &report)
	})
	if err != nil {
		return nil, err
	}
	return newCacheReport(report), nil
}
