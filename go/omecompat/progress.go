package omecompat

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// ProgressPhase is what a download is doing.
type ProgressPhase int

// The phases, in their order.
const (
	ProgressPhaseScanning ProgressPhase = iota
	ProgressPhaseDownloading
	ProgressPhaseFinalizing
)

// String returns "scanning", "downloading", "finalizing", or "unknown".
func (p ProgressPhase) String() string {
	switch p {
	case ProgressPhaseScanning:
		return "scanning"
	case ProgressPhaseDownloading:
		return "downloading"
	case ProgressPhaseFinalizing:
		return "finalizing"
	}
	return "unknown"
}

// ProgressUpdate says how far a download is. Numbers never shrink within one call, but for those of the
// current file, which changes.
type ProgressUpdate struct {
	Phase ProgressPhase
	// TotalBytes is that of all files of the call; 0 until they are listed.
	TotalBytes uint64
	// CompletedBytes counts verified bytes, those that were on this machine too.
	CompletedBytes uint64
	TotalFiles     uint32
	CompletedFiles uint32
	// CurrentFile is the file that moved last; empty if none has begun.
	CurrentFile               string
	CurrentFileCompletedBytes uint64
	CurrentFileTotalBytes     uint64
}

// ProgressHandler is told of progress, on the goroutine that made the call.
type ProgressHandler func(ProgressUpdate)

// defaultThrottle is the time between two reports if the caller names none.
const defaultThrottle = 200 * time.Millisecond

// SetProgressHandler has a function told how far the client's downloads are that begin from now on; nil:
// none. It is told at most once in `throttle` (200 ms if that isn't positive), besides at the beginning
// and at the end. Downloads that are running keep the function that they began with. If several run at a
// time, it is called by each of them.
func (c *Client) SetProgressHandler(handler ProgressHandler, throttle time.Duration) error {
	if _, err := c.native().Info(); err != nil { // closed
		return convert(err)
	}
	if throttle <= 0 {
		throttle = defaultThrottle
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handler, c.throttle = handler, throttle
	return nil
}

// DisableProgress has nobody told of downloads that begin from now on.
func (c *Client) DisableProgress() error { return c.SetProgressHandler(nil, 0) }

// EnableConsoleProgress writes progress to the standard output: a line that begins with the label, and is
// written over until the download ends.
func (c *Client) EnableConsoleProgress(label string, throttle time.Duration) error {
	return c.SetProgressHandler(console(os.Stdout, label), throttle)
}

// progress returns the options that report to the client's handler.
func (c *Client) progress() []common {
	c.mu.Lock()
	defer c.mu.Unlock()
	handler := c.handler
	if handler == nil {
		return nil
	}
	return []common{
		xet.WithProgress(func(p xet.Progress) { handler(update(p)) }), xet.WithProgressInterval(c.throttle),
	}
}

// update returns a report in the shape that handlers know.
func update(p xet.Progress) ProgressUpdate {
	phase := ProgressPhaseDownloading
	switch p.Phase {
	case xet.PhaseScanning:
		phase = ProgressPhaseScanning
	case xet.PhaseFinalizing:
		phase = ProgressPhaseFinalizing
	}
	return ProgressUpdate{
		Phase:                     phase,
		TotalBytes:                uint64(p.BytesTotal),
		CompletedBytes:            uint64(p.BytesCompleted),
		TotalFiles:                uint32(p.FilesTotal),
		CompletedFiles:            uint32(p.FilesCompleted),
		CurrentFile:               p.File,
		CurrentFileCompletedBytes: uint64(p.FileBytesCompleted),
		CurrentFileTotalBytes:     uint64(p.FileBytesTotal),
	}
}

// console returns a handler that keeps one line up to date. Where it can't be written, nobody is to be told.
func console(out io.Writer, label string) ProgressHandler {
	var mu sync.Mutex // several downloads may run at a time
	width, ended := 0, false
	return func(u ProgressUpdate) {
		mu.Lock()
		defer mu.Unlock()
		end := u.Phase == ProgressPhaseFinalizing && u.CompletedFiles == u.TotalFiles
		if end && ended {
			return // all is said
		}
		ended = end
		percent := 0.0
		if u.TotalBytes > 0 {
			percent = 100 * float64(u.CompletedBytes) / float64(u.TotalBytes)
		}
		line := fmt.Sprintf("[%s] %s: %.1f%%, %d of %d files", label, u.Phase, percent,
			u.CompletedFiles, u.TotalFiles)
		if u.CurrentFile != "" {
			line += ", " + u.CurrentFile
		}
		// Spaces over what is left of a longer line.
		_, _ = fmt.Fprintf(out, "\r%-*s", width, line)
		width = len([]rune(line))
		if end {
			_, _ = fmt.Fprintln(out)
			width = 0
		}
	}
}
