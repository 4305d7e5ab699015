package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"runtime"
	"time"
	"unsafe"
)

// Group is what Downloads and Uploads have in common: files on their way, each a task with a number
// that is never 0. What is added begins at once, and goes on whether anybody waits or not; only what
// needs a token of a TokenFunc stands still meanwhile. One goroutine waits for all of them, or several.
type Group struct {
	handle *handle[*C.XetGroup]
	tokens *tokens
	// readers are those of AddReader.
	readers *readers
	// pins hold the bytes of AddBytes until the group is freed.
	pins *pins
}

// Downloads are files on their way out of a storage.
type Downloads struct{ *Group }

// Downloads begins a group of downloads.
func (s *Storage) Downloads() (*Downloads, error) {
	group, err := s.group(C.XET_GROUP_DOWNLOADS)
	if err != nil {
		return nil, err
	}
	return &Downloads{group}, nil
}

func (s *Storage) group(kind C.uint32_t) (*Group, error) {
	native := C.XetGroupOptions{struct_size: C.sizeof_XetGroupOptions, kind: kind}
	var begun *C.XetGroup
	tokens, err := s.begin(func(storage *C.XetStorage) *C.XetError {
		return C.xet_storage_begin_group(storage, &native, &begun)
	})
	if err != nil {
		return nil, err
	}
	h := newHandle(begun)
	pins := new(pins)
	group := &Group{handle: h, tokens: tokens, readers: newReaders(h), pins: pins}
	h.panics = append(tokens.panics(), &group.readers.thrown)
	readers := group.readers
	h.freed = func() { // must not keep the group from the garbage collector
		pins.free()
		tokens.leave()
		readers.logPanic()
	}
	runtime.AddCleanup(group, (*handle[*C.XetGroup]).close, h)
	return group, nil
}

// Add adds the content with a Xet hash, 64 hex digits, which goes to a path, and returns the task. The
// path's folder has to exist. A file that is there is replaced once the content is complete and
// verified, and not touched before; a link is followed. `size` is the content's; 0: storage is asked.
func (d *Downloads) Add(hash, path string, size int64) (int64, error) {
	var args arena
	defer args.free()
	native := C.XetGroupDownload{
		struct_size: C.sizeof_XetGroupDownload,
		hash:        args.given("hash", hash),
		path:        args.given("path", path),
		size:        args.bytes("size", size),
	}
	return d.add(&args, func(group *C.XetGroup, task *C.uint64_t) *C.XetError {
		return C.xet_group_add_download(group, &native, task)
	})
}

// add adds a task whose arguments are in `args`.
func (g *Group) add(
	args *arena, function func(*C.XetGroup, *C.uint64_t) *C.XetError,
) (int64, error) {
	if args.err != nil {
		return 0, args.err
	}
	if g.readers.isSealed() {
		return 0, groupIsSealed()
	}
	var task C.uint64_t
	err := g.handle.call(func(group *C.XetGroup) *C.XetError { return function(group, &task) })
	return int64(task), err
}

// Wait waits until all that was added has ended. Nothing can be added from then on. Uploads are in
// storage when it has returned, and not before. When the context is cancelled or its deadline passes,
// the group is cancelled, and it returns within 100 ms.
//
// If tasks have failed, the error is that of the first of them. The report, which has the errors of all,
// comes with an error, too; it is nil only if the group was closed before, or an argument is wrong.
func (g *Group) Wait(ctx context.Context, options ...WaitOption) (*GroupReport, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	interval := args.milliseconds("progress_interval", request.interval)
	if args.err != nil {
		return nil, args.err
	}
	if ctx == nil {
		return nil, invalid("ctx", "is nil; use context.Background()")
	}
	if err := g.readers.seal(); err != nil {
		return nil, err
	}
	group, err := g.handle.acquire()
	if err != nil {
		return nil, err
	}
	defer g.handle.release()
	progress := request.progress
	serve := func(group *C.XetGroup, call C.uintptr_t) *C.XetError {
		return C.xetgo_group_serve(group, call, C.bool(progress != nil), interval)
	}
	// A context that is over already ends the group, too.
	ended := g.handle.enter(ctx, "", progress, group, serve)
	report, err := g.Report()
	switch {
	case err != nil:
		return nil, err
	case ended != nil:
		return report, g.tokens.explain(ended)
	}
	for _, task := range report.Tasks {
		if task.Err != nil {
			return report, task.Err
		}
	}
	return report, nil
}

// WaitTask waits for one task; for an upload, until its hash is known. The end of the context ends the
// wait, and nothing else. If the task has failed, the error is its own, and comes with the task.
func (g *Group) WaitTask(ctx context.Context, task int64) (*GroupTask, error) {
	var native *C.XetGroupReport
	defer func() { C.xet_group_report_free(native) }()
	err := g.handle.run(ctx, "", nil, func(group *C.XetGroup, call C.uintptr_t) *C.XetError {
		return C.xetgo_group_wait_task(group, C.uint64_t(task), call, &native)
	})
	if err != nil {
		return nil, g.tokens.explain(err)
	}
	found := &g.newReport(native).Tasks[0]
	return found, found.Err
}

// Report says how the group is now. It doesn't wait.
func (g *Group) Report() (*GroupReport, error) {
	var native *C.XetGroupReport
	defer func() { C.xet_group_report_free(native) }()
	err := g.handle.call(func(group *C.XetGroup) *C.XetError {
		return C.xet_group_report(group, &native)
	})
	if err != nil {
		return nil, err
	}
	return g.newReport(native), nil
}

// CancelTask cancels a task. What has ended stays as it is. It returns at once.
func (g *Group) CancelTask(task int64) error {
	if task == 0 { // to C, all of them
		return invalid("task", "0 is no task of this group")
	}
	return g.handle.call(func(group *C.XetGroup) *C.XetError {
		return C.xet_group_cancel(group, C.uint64_t(task))
	})
}

// Cancel cancels what still runs: who waits for the group gets ErrCancelled. It returns at once.
func (g *Group) Cancel() error {
	return g.handle.call(func(group *C.XetGroup) *C.XetError {
		return C.xet_group_cancel(group, 0)
	})
}

// Close gives the group up, and cancels what still runs. It never waits. Closing twice is fine, and so
// is not closing: the garbage collector does it, too.
func (g *Group) Close() error {
	return g.handle.end(func(group *C.XetGroup) *C.XetError {
		return C.xet_group_cancel(group, 0)
	})
}

// newReport copies a report, with what generated code leaves out: what may be missing.
func (g *Group) newReport(native *C.XetGroupReport) *GroupReport {
	report := newGroupReport(native)
	report.Dedup = optionalDedup(native.dedup)
	if native.shards != nil {
		shards := newShardStats(native.shards)
		report.Shards = &shards
	}
	for i, task := range unsafe.Slice(native.tasks, int(native.tasks_len)) {
		found := &report.Tasks[i]
		found.Dedup = optionalDedup(task.dedup)
		if task.error != nil {
			found.Err = g.tokens.explain(newError(task.error))
		}
		if g.readers.explain(found) {
			report.Failed++
		}
	}
	return report
}

func optionalDedup(native *C.XetDedupStats) *DedupStats {
	if native == nil {
		return nil
	}
	stats := newDedupStats(native)
	return &stats
}

// TaskState is how a task is, or a group. TaskStateFinalizing: of a task, all has been sent, and
// storage is yet to register it; of a group, all has been added. A group is failed if it can't go on,
// not if one of its tasks has failed.
type TaskState string

// GroupTask is how one task of a group is.
type GroupTask struct {
	// Task is its number, and Name the path of a download, and of an upload its name.
	Task  int64     `json:"task"`
	Name  string    `json:"name"`
	State TaskState `json:"state"`
	// Hash is the Xet hash; empty until an upload's is known.
	Hash string `json:"hash,omitempty"`
	// SHA256 is that of an upload that has one, once it is known.
	SHA256 string `json:"sha256,omitempty"`
	// BytesTotal is the content; 0 until it's known.
	BytesTotal int64 `json:"bytes_total"`
	// The others are as in Progress.
	BytesCompleted int64 `json:"bytes_completed"`
	BytesNetwork   int64 `json:"bytes_network"`
	BytesReused    int64 `json:"bytes_reused"`
	// Err is why it has failed; nil unless it has.
	Err error `json:"error,omitempty"`
	// Dedup is that of an upload whose content has been cut.
	Dedup *DedupStats `json:"dedup,omitempty"`
}

// GroupReport is how a group is.
type GroupReport struct {
	State TaskState `json:"state"`
	// The bytes are those of all tasks that were added.
	BytesTotal     int64 `json:"bytes_total"`
	BytesCompleted int64 `json:"bytes_completed"`
	BytesNetwork   int64 `json:"bytes_network"`
	BytesReused    int64 `json:"bytes_reused"`
	// These are as in Transfer.
	Retries        int `json:"retries"`
	Stalls         int `json:"stalls"`
	Refreshes      int `json:"refreshes"`
	Refetches      int `json:"refetches"`
	SourcesDropped int `json:"sources_dropped"`
	// Failed says how many tasks have failed.
	Failed int `json:"failed"`
	// Seconds is the time since the group's beginning; up to its end, if it has ended.
	Seconds float64 `json:"seconds"`
	// Tasks are in the order in which they were added.
	Tasks []GroupTask `json:"tasks"`
	// Dedup is that of a group of uploads.
	Dedup *DedupStats `json:"dedup,omitempty"`
	// Shards are those of a group of uploads.
	Shards *ShardStats `json:"shards,omitempty"`
}

// Duration is the time since the group's beginning; up to its end, if it has ended.
func (r *GroupReport) Duration() time.Duration {
	return time.Duration(r.Seconds * float64(time.Second))
}

// DedupStats is what an upload had to send, with hf_xet's names. Of chunks that are known, deduped ones
// need not be sent; of those, those by global dedup were learnt of by asking storage.
type DedupStats struct {
	TotalBytes                int64 `json:"total_bytes"`
	DedupedBytes              int64 `json:"deduped_bytes"`
	NewBytes                  int64 `json:"new_bytes"`
	DedupedBytesByGlobalDedup int64 `json:"deduped_bytes_by_global_dedup"`
	// DefragPreventedDedupBytes are those of known chunks that were sent all the same, so that a file
	// isn't in too many pieces.
	DefragPreventedDedupBytes  int64 `json:"defrag_prevented_dedup_bytes"`
	TotalChunks                int64 `json:"total_chunks"`
	DedupedChunks              int64 `json:"deduped_chunks"`
	NewChunks                  int64 `json:"new_chunks"`
	DedupedChunksByGlobalDedup int64 `json:"deduped_chunks_by_global_dedup"`
	DefragPreventedDedupChunks int64 `json:"defrag_prevented_dedup_chunks"`
	// These are as sent, compressed. Of a task they are 0, as xorbs have chunks of many files.
	XorbBytesUploaded  int64 `json:"xorb_bytes_uploaded"`
	ShardBytesUploaded int64 `json:"shard_bytes_uploaded"`
}

// ShardStats is how far storage is with the shards that describe an upload, with hf_xet's names. They go
// last: once all are completed, what was uploaded can be had. None of it ever goes down.
type ShardStats struct {
	TotalShardBytes int64 `json:"total_shard_bytes"`
	// TotalShardBytesUploadCompleted are those of them that were sent.
	TotalShardBytesUploadCompleted int64 `json:"total_shard_bytes_upload_completed"`
	// TotalShards were begun up to now.
	TotalShards int64 `json:"total_shards"`
	// TotalShardValidationEntries are what storage has found in them to check; it finds more as it goes. 0
	// where it doesn't tell.
	TotalShardValidationEntries          int64 `json:"total_shard_validation_entries"`
	TotalShardValidationEntriesCompleted int64 `json:"total_shard_validation_entries_completed"`
	// TotalShardsUploadedToStore were written by storage; then they are made to last, and complete.
	TotalShardsUploadedToStore int64 `json:"total_shards_uploaded_to_store"`
	TotalShardsSynced          int64 `json:"total_shards_synced"`
	TotalShardsCompleted       int64 `json:"total_shards_completed"`
}
