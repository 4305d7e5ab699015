package xet

// #include "callbacks.h"
import "C"

import "context"

// PlanSnapshot finds out what DownloadSnapshot would do with the same options, and changes nothing.
// It asks the Hub, and fetches and hashes no content.
func (c *Client) PlanSnapshot(
	ctx context.Context, repoID string, options ...PlanOption,
) (*Plan, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := request.native(&args, repoID)
	native.timeout_ms = timeout(ctx)
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

// Plan is what a download would do.
type Plan struct {
	// Files are in the order of the listing.
	Files []PlannedFile `json:"files"`
	// BytesTotal is the content of those files; the next three add up to it.
	BytesTotal int64 `json:"bytes_total"`
	// BytesPresent are at their place already, or left there by a download that was interrupted.
	BytesPresent int64 `json:"bytes_present"`
	// BytesReusable are in other files on this machine.
	BytesReusable int64 `json:"bytes_reusable"`
	// BytesRemote are to be fetched; on the network they may be fewer, being compressed.
	BytesRemote int64 `json:"bytes_remote"`
	// DiskNeed is how much it would take on the disk.
	DiskNeed int64 `json:"disk_need"`
	// DiskFree is how much is free where it would be written; -1 if the system doesn't say.
	DiskFree int64 `json:"disk_free"`
	// Commit is the commit that the revision stands for.
	Commit string `json:"commit"`
	// Requests for files that it needs: one for each that comes over plain HTTP.
	Requests int64 `json:"requests"`
	// Windows says how many windows of the Hub's rate limit those need, the present one included: with 2,
	// the download has to wait once. 0 if the Hub hasn't said how many requests it takes.
	Windows int64 `json:"windows"`
}

// PlannedFile says where the bytes of a file would come from, as Plan does for all files.
type PlannedFile struct {
	// Path is relative to the repo.
	Path          string `json:"path"`
	BytesTotal    int64  `json:"bytes_total"`
	BytesPresent  int64  `json:"bytes_present"`
	BytesReusable int64  `json:"bytes_reusable"`
	BytesRemote   int64  `json:"bytes_remote"`
}

// Fits says whether there is room for it, as far as is known.
func (p *Plan) Fits() bool {
	return p.DiskFree < 0 || p.DiskNeed <= p.DiskFree
}
