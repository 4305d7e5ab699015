package xet

// Way is how a file's content came. WayLocal: none of it over the network; the file was on this
// machine, or is empty. WayXetThenHTTP: Xet failed, and plain HTTP brought in what was missing.
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
}
