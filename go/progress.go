package xet

// #include "callbacks.h"
import "C"

import "fmt"

// Phase is what a transfer is doing.
type Phase int

// The phases, in their order.
const (
	PhaseScanning    Phase = C.XET_PROGRESS_PHASE_SCANNING
	PhaseDownloading Phase = C.XET_PROGRESS_PHASE_DOWNLOADING
	PhaseFinalizing  Phase = C.XET_PROGRESS_PHASE_FINALIZING
	// Those of uploads, after PhaseScanning.
	PhaseHashing    Phase = C.XET_PROGRESS_PHASE_HASHING
	PhaseUploading  Phase = C.XET_PROGRESS_PHASE_UPLOADING
	PhaseCommitting Phase = C.XET_PROGRESS_PHASE_COMMITTING
)

func (p Phase) String() string {
	switch p {
	case PhaseScanning:
		return "scanning"
	case PhaseDownloading:
		return "downloading"
	case PhaseFinalizing:
		return "finalizing"
	case PhaseHashing:
		return "hashing"
	case PhaseUploading:
		return "uploading"
	case PhaseCommitting:
		return "committing"
	}
	return fmt.Sprintf("Phase(%d)", int(p))
}

// Progress says how far a transfer is. Numbers never shrink within one call.
type Progress struct {
	Phase Phase
	// BytesTotal is that of all files of the call; 0 until the listing is known.
	BytesTotal int64
	// BytesCompleted counts verified bytes: those found on this machine and those received. Of an
	// upload: read and processed.
	BytesCompleted int64
	// BytesNetwork counts what was received as file content, as sent (compressed or not). Of an
	// upload: sent, for Xet files before compression.
	BytesNetwork int64
	// BytesReused counts what was taken from files on this machine. Of an upload: files that the
	// Hub has already.
	BytesReused    int64
	FilesTotal     int
	FilesCompleted int
	// File is the file that moved last, relative to the repo; empty if none has begun.
	File               string
	FileBytesCompleted int64
	FileBytesTotal     int64
}

func newProgress(p *C.XetProgress) Progress {
	return Progress{
		Phase:              Phase(p.phase),
		BytesTotal:         int64(p.bytes_total),
		BytesCompleted:     int64(p.bytes_completed),
		BytesNetwork:       int64(p.bytes_network),
		BytesReused:        int64(p.bytes_reused),
		FilesTotal:         int(p.files_total),
		FilesCompleted:     int(p.files_completed),
		File:               C.GoString(p.file),
		FileBytesCompleted: int64(p.file_bytes_completed),
		FileBytesTotal:     int64(p.file_bytes_total),
	}
}
