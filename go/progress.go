package xet

// Phase is what a transfer is doing. PhaseHashing, PhaseUploading and PhaseCommitting are those of
// uploads, after PhaseScanning.
type Phase int

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
