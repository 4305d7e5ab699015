package xet

// FileKind is how the Hub stores a file.
type FileKind string

// FileInfo is one file of a repo at a revision.
type FileInfo struct {
	// Path is relative to the repo, with "/".
	Path string `json:"path"`
	// Size is that of the content, in bytes.
	Size int64 `json:"size"`
	// Hash is the oid of the tree entry: the git blob id (for LFS and Xet files, of the pointer).
	Hash string   `json:"hash"`
	Kind FileKind `json:"kind"`
	// SHA256 is that of the content, as hex; empty for git files.
	SHA256 string `json:"sha256,omitempty"`
	// XetHash is the Merkle hash of the content, as hex; empty unless Kind is FileKindXet.
	XetHash string `json:"xet_hash,omitempty"`
}
