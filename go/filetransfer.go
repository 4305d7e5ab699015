package xet

// #include "xet.h"
import "C"

import "unsafe"

// Way is how a file's content came.
type Way string

// The ways. A newer library may know more; they are "unknown".
const (
	// WayLocal: none of it over the network. The file was on this machine, or is empty.
	WayLocal Way = "local"
	WayXet   Way = "xet"
	WayHTTP  Way = "http"
	// WayXetThenHTTP: Xet failed, and plain HTTP brought in what was missing.
	WayXetThenHTTP Way = "xet+http"
	WayUnknown     Way = "unknown"
)

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
}

// newFileTransfers copies the files of a report, in the order of the listing.
func newFileTransfers(t *C.XetTransfer) []FileTransfer {
	files := make([]FileTransfer, 0, int(t.files))
	for _, file := range unsafe.Slice(t.file_transfers, int(t.files)) {
		files = append(files, FileTransfer{
			Path:         C.GoString(file.path),
			Way:          newWay(file.way),
			BytesTotal:   int64(file.bytes_total),
			BytesNetwork: int64(file.bytes_network),
			BytesReused:  int64(file.bytes_reused),
			Retries:      int(file.retries),
			Fallbacks:    int(file.fallbacks),
		})
	}
	return files
}

func newWay(way C.uint32_t) Way {
	switch way {
	case C.XET_WAY_LOCAL:
		return WayLocal
	case C.XET_WAY_XET:
		return WayXet
	case C.XET_WAY_HTTP:
		return WayHTTP
	case C.XET_WAY_XET_THEN_HTTP:
		return WayXetThenHTTP
	}
	return WayUnknown
}
