package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"io"
	"io/fs"
	"path"
	"runtime"
	"sync"
	"unsafe"
)

// OpenRequest says what to open, and how it is read.
type OpenRequest struct {
	// RepoID is "name" or "namespace/name". Required.
	RepoID string
	// RepoType chooses datasets or spaces. Default: models.
	RepoType RepoType
	// Revision is a branch, tag, commit or "refs/pr/N". Default: main.
	Revision string
	// Filename is the file's path in the repo. Required by Open, and left empty for FS, which has all of
	// them.
	Filename string
	// LocalFilesOnly uses no network: a file that isn't in the cache, whole, is ErrLocalEntryNotFound.
	LocalFilesOnly bool
	// RequireProof gives out no byte that isn't proven to be the file's: what can't be is refused. Git and
	// LFS files that aren't in the cache can't. Of a Xet file in the cache each chunk is hashed again; for others that
	// are there, and without the network, the download that has left them there vouches, whoever's that was.
	RequireProof bool
	// NoReadahead fetches what is asked for and nothing ahead, however a file is read.
	NoReadahead bool
	// WindowBytes is the most memory that each file keeps of what was read, and of what it reads ahead.
	// Default: 40 MiB. A read that is larger takes its own size besides while it lasts. Files of a client that have
	// the same content open share what they keep: together as much as each of them may.
	WindowBytes int64
	// Deadlines are those of opening, and of all reads, where not those of the client.
	Deadlines Deadlines
}

// File is a file of a repo that is open to be read in place, without a download: an io.ReaderAt, an
// io.ReadSeekCloser and an fs.File. It stays at the commit that its revision stood for when it was opened,
// whatever becomes of the branch. Any number of goroutines may read it at a time, and none waits for
// another's ReadAt or ReadRanges.
type File struct {
	ctx    context.Context
	handle *handle[*C.XetFile]
	repoID string
	info   fileInfo

	// mutex is for one Read or Seek at a time.
	mutex sync.Mutex
	// position is where the next Read begins.
	position int64
}

// Open opens a file: one request, or none at a commit id, if the cache has the file at it, or the client has
// heard of it there before, by a listing or by opening it. (Who may have the content is then told by the first
// read.) The context is that of opening, and of all Read and ReadAt: they return within 100 ms when it is
// cancelled or its deadline passes. The client may be closed before the file.
func (c *Client) Open(ctx context.Context, request OpenRequest) (*File, error) {
	var args arena
	defer args.free()
	native := request.native(&args)
	native.timeout_ms = timeout(ctx)
	if args.err != nil {
		return nil, args.err
	}
	var opened *C.XetFile
	err := c.run(ctx, request.RepoID, nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_open(client, &native, call, &opened)
	})
	if err != nil {
		return nil, err
	}
	h := newHandle(opened)
	h.abandons = true
	file := &File{ctx: ctx, handle: h, repoID: request.RepoID}
	runtime.AddCleanup(file, (*handle[*C.XetFile]).close, h)
	report, err := file.Report()
	if err != nil {
		h.close()
		return nil, err
	}
	file.info = fileInfo{path.Base(report.Path), report.fileInfo()}
	return file, nil
}

// native returns the request for C; what it points to belongs to the arena.
func (r *OpenRequest) native(args *arena) C.XetOpenOptions {
	native := C.XetOpenOptions{
		struct_size:  C.sizeof_XetOpenOptions,
		repo_id:      args.text("repo_id", r.RepoID),
		repo_type:    args.text("repo_type", string(r.RepoType)),
		revision:     args.text("revision", r.Revision),
		filename:     args.given("filename", r.Filename),
		window_bytes: args.bytes("window_bytes", r.WindowBytes),
		deadlines:    args.deadlines(r.Deadlines),
	}
	if r.LocalFilesOnly {
		native.flags |= C.XET_OPEN_LOCAL_FILES_ONLY
	}
	if r.RequireProof {
		native.flags |= C.XET_OPEN_REQUIRE_PROOF
	}
	if r.NoReadahead {
		native.flags |= C.XET_OPEN_NO_READAHEAD
	}
	return native
}

// Size is the file's, in bytes; 0 of a nil File.
func (f *File) Size() int64 {
	if f == nil {
		return 0
	}
	return f.info.Size()
}

// Stat describes the file. Its Sys is a *FileInfo, with hashes, and its ModTime the zero Time: a listing
// has none.
func (f *File) Stat() (fs.FileInfo, error) {
	if err := f.closed(); err != nil {
		return nil, err
	}
	return f.info, nil
}

// Read reads what stands at the position, which Seek sets, and moves it on. Goroutines that share a position
// take turns.
func (f *File) Read(buffer []byte) (int, error) {
	if err := f.closed(); err != nil {
		return 0, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	n, err := f.ReadAtContext(f.ctx, buffer, f.position)
	f.position += int64(n)
	if n > 0 && err == io.EOF {
		err = nil // said by the next one
	}
	return n, err
}

// Seek sets the position of the next Read, which may be behind the end; there is nothing to be read then.
// It asks nobody.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	if err := f.closed(); err != nil {
		return 0, err
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	base := int64(0)
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		base = f.position
	case io.SeekEnd:
		base = f.Size()
	default:
		return 0, invalid("whence", "must be io.SeekStart, io.SeekCurrent or io.SeekEnd")
	}
	// A sum that is too large has become a negative one: neither is.
	if base+offset < 0 {
		return 0, invalid("offset", "leads to before the file's beginning, or too far")
	}
	f.position = base + offset
	return f.position, nil
}

// ReadAt reads from an offset on, whatever the position is. It reads fewer bytes than the buffer has
// room for only if its error isn't nil; at the file's end, it is io.EOF. Of a read that fails otherwise, what
// is in the buffer is not to be used.
func (f *File) ReadAt(buffer []byte, offset int64) (int, error) {
	if err := f.closed(); err != nil {
		return 0, err
	}
	return f.ReadAtContext(f.ctx, buffer, offset)
}

// ReadAtContext is ReadAt with another context than that of Open: of a request, say, that is answered from a
// file which serves many.
func (f *File) ReadAtContext(ctx context.Context, buffer []byte, offset int64) (int, error) {
	switch err := f.closed(); {
	case err != nil:
		return 0, err
	case offset < 0:
		return 0, negativeOffset()
	case len(buffer) == 0:
		return 0, nil
	}
	defer runtime.KeepAlive(f) // to close it, as the garbage collector would, ends the call
	options := C.XetReadOptions{struct_size: C.sizeof_XetReadOptions, timeout_ms: timeout(ctx)}
	var filled C.size_t
	err := f.handle.run(ctx, f.repoID, nil, func(file *C.XetFile, call C.uintptr_t) *C.XetError {
		return C.xetgo_read_at(file, C.uint64_t(offset), unsafe.Pointer(&buffer[0]),
			C.size_t(len(buffer)), &options, call, &filled)
	})
	if err != nil {
		return 0, err
	}
	if int(filled) < len(buffer) {
		return int(filled), io.EOF
	}
	return len(buffer), nil
}

// Range is a part of a file, and where it is wanted.
type Range struct {
	// Offset is in bytes.
	Offset int64
	// Buffer is what is filled. It says how many bytes are wanted.
	Buffer []byte
	// N is set by a call that succeeds: how many bytes there were, fewer than wanted only where the file
	// ends.
	N int
}

// ReadRanges reads many parts at once, in any order: neighbours are fetched together, what several ranges
// have in common once, and all side by side. Ranges may overlap, but not their buffers. A range that the
// file's end cuts short is no error: its N says so. When the context is cancelled or its deadline passes, it
// returns within 100 ms. Of a call that fails, what is in the buffers is not to be used.
func (f *File) ReadRanges(ctx context.Context, ranges []Range) error {
	if err := f.closed(); err != nil {
		return err
	}
	var args arena
	defer args.free()
	// C memory holds pointers to the buffers, which have to stay where they are.
	var pinner runtime.Pinner
	defer pinner.Unpin()
	block := args.block(uintptr(len(ranges)) * C.sizeof_XetReadRange)
	natives := unsafe.Slice((*C.XetReadRange)(block), len(ranges))
	for i, r := range ranges {
		if r.Offset < 0 {
			return negativeOffset()
		}
		natives[i].offset = C.uint64_t(r.Offset)
		if len(r.Buffer) > 0 {
			first := unsafe.SliceData(r.Buffer)
			pinner.Pin(first)
			natives[i].buffer = unsafe.Pointer(first)
			natives[i].len = C.size_t(len(r.Buffer))
		}
	}
	defer runtime.KeepAlive(f) // as above
	options := C.XetReadOptions{struct_size: C.sizeof_XetReadOptions, timeout_ms: timeout(ctx)}
	err := f.handle.run(ctx, f.repoID, nil, func(file *C.XetFile, call C.uintptr_t) *C.XetError {
		return C.xetgo_read_ranges(file, (*C.XetReadRange)(block), C.size_t(len(ranges)), &options, call)
	})
	if err != nil {
		return err
	}
	for i := range ranges {
		ranges[i].N = int(natives[i].filled)
	}
	return nil
}

// Report says what the file is, and what has been read of it so far. It asks nobody.
func (f *File) Report() (*FileReport, error) {
	if err := f.closed(); err != nil {
		return nil, err
	}
	var report *C.XetFileReport
	defer func() { C.xet_file_report_free(report) }()
	err := f.handle.call(func(file *C.XetFile) *C.XetError {
		return C.xet_file_report(file, &report)
	})
	if err != nil {
		return nil, err
	}
	return newFileReport(report), nil
}

// Close closes the file, and ends the reads that are under way with ErrClosed. It never waits and always
// returns nil. Closing twice is fine, and so is not closing: the garbage collector does it, too.
func (f *File) Close() error {
	if f != nil {
		f.handle.close()
	}
	return nil
}

// closed returns the error for a file that is closed, or was never opened; nil unless it is.
func (f *File) closed() error {
	if f == nil || f.handle.isClosed() {
		return closedError("file")
	}
	return nil
}

func negativeOffset() *Error { return invalid("offset", "is negative") }

// Proof is what vouches for the bytes that a file has given out. ProofMerkle: each belongs to a chunk that was
// hashed when it came, and whose hash was shown to be in the file with the hash that the Hub has published.
// ProofCache: the cache has the file whole, as a download had left it there after it had checked it.
// ProofNone: nothing but the server, over its connection, as with git and LFS files, of which nothing smaller
// than the whole has a hash, or where a CAS tells no proofs.
type Proof string

// FileReport is what a file is that was opened, and what has been read of it so far.
type FileReport struct {
	Kind FileKind `json:"kind"`
	Size int64    `json:"size"`
	// Path is the file's, in the repo.
	Path string `json:"path"`
	// Commit is the one that the file stays at.
	Commit string `json:"commit"`
	// ETag is the git blob id or the SHA-256 of the content, as the Hub's ETag has it.
	ETag string `json:"etag"`
	// XetHash is the Merkle hash of the content, as hex; empty unless Kind is FileKindXet.
	XetHash string `json:"xet_hash,omitempty"`
	// Proof is that of the weakest byte given out; before the first, what is expected.
	Proof Proof `json:"proof"`
	// Reads counts the calls that have read, and BytesRead what they were given.
	Reads     int64 `json:"reads"`
	BytesRead int64 `json:"bytes_read"`
	// BytesNetwork was received as content, as sent, ahead of readers or for them, and BytesProof as proofs,
	// decompressed. What another file of the client has had proven of the same content is no part of it.
	BytesNetwork int64 `json:"bytes_network"`
	BytesProof   int64 `json:"bytes_proof"`
	// BytesReused is content from this machine: the cache, files that are known to hold the same chunks, and
	// what was read before.
	BytesReused int64 `json:"bytes_reused"`
	// Retries and Stalls are as in Transfer.
	Retries int `json:"retries"`
	Stalls  int `json:"stalls"`
}

// fileInfo returns what a listing would say, as far as it is known. Of a Hash, only that of git files is.
func (r *FileReport) fileInfo() *FileInfo {
	info := &FileInfo{Path: r.Path, Size: r.Size, Kind: r.Kind, XetHash: r.XetHash}
	if r.Kind == FileKindGit {
		info.Hash = r.ETag
	} else {
		info.SHA256 = r.ETag
	}
	return info
}
