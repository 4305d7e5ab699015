package xet

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
