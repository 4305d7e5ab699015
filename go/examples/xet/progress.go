package main

import (
	"fmt"
	"io"
	"os"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// progress returns a function that shows progress on a terminal, and one that wipes it away. Where
// stderr isn't a terminal, there is nothing to show.
func progress(quiet bool, stderr io.Writer) (show func(xet.Progress), end func()) {
	if quiet || !isTerminal(stderr) {
		return nil, func() {}
	}
	const wipe = "\r\x1b[K"
	show = func(p xet.Progress) {
		file := p.File
		if p.RateLimitedSeconds > 0 {
			file = fmt.Sprintf("rate limited, %d s", p.RateLimitedSeconds)
		}
		done := p.BytesCompleted
		if p.Phase == xet.PhaseUploading {
			// It's read much sooner than it's sent.
			done = min(done, p.BytesNetwork+p.BytesReused)
		}
		percent := int64(0)
		if p.BytesTotal > 0 {
			percent = done * 100 / p.BytesTotal
		}
		fmt.Fprintf(stderr, "%s%-11s %3d %%  %s of %s  %d of %d files  %.40s", wipe, p.Phase, percent,
			size(done), size(p.BytesTotal), p.FilesCompleted, p.FilesTotal, file)
	}
	return show, func() { fmt.Fprint(stderr, wipe) }
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// size prints bytes as people read them.
func size(bytes int64) string {
	value, unit := float64(bytes), 0
	units := []string{"B", "kB", "MB", "GB", "TB"}
	for value >= 1000 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
