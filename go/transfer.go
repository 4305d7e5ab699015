package xet

import "time"

// Transfer is the report of a finished download.
type Transfer struct {
	// Path is the file, the snapshot folder, or the local dir; absolute.
	Path string `json:"path"`
	// Files says how many files the call was about, and BytesTotal how large they are.
	Files      int   `json:"files"`
	BytesTotal int64 `json:"bytes_total"`
	// BytesNetwork was received as file content, as sent: with Xet's compression, without HTTP
	// headers and listings.
	BytesNetwork int64 `json:"bytes_network"`
	// BytesReused is content that was on this machine already.
	BytesReused int64 `json:"bytes_reused"`
	// Retries counts requests that were made again.
	Retries int `json:"retries"`
	// Fallbacks counts files fetched another way than the Hub proposed first.
	Fallbacks int `json:"fallbacks"`
	// Stalls counts streams that stalled, or only trickled, and were given up for another.
	Stalls int `json:"stalls"`
	// Refreshes counts tokens and signed URLs that were refused, and fetched anew.
	Refreshes int `json:"refreshes"`
	// Refetches counts ranges fetched again because the hash of a complete file was wrong.
	Refetches int `json:"refetches"`
	// Seconds is the wall time of the call.
	Seconds float64 `json:"seconds"`
	// Commit is the commit that the revision stands for.
	Commit string `json:"commit"`
	// FileTransfers says of each file what it took and which way it came, in the order of the listing.
	FileTransfers []FileTransfer `json:"file_transfers"`
	// SourcesDropped counts files on this machine that were to be reused and had changed, shrunk,
	// rotted or gone.
	SourcesDropped int `json:"sources_dropped"`
}

// Duration is the wall time of the call.
func (t *Transfer) Duration() time.Duration {
	return time.Duration(t.Seconds * float64(time.Second))
}
