//go:build cgo

package xet

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// FS is a revision of a repo as a file system for io/fs and all that takes one: http.FS, fs.WalkDir,
// template.ParseFS. It was listed once, so that to look around asks nobody; a file that is opened costs what
// Client.Open says. Files can be read only, have no times, and are each a *File, which zip.NewReader can read
// and http.FileServer can seek in. Folders are those that the paths of files name. Errors are *fs.PathError,
// in which errors.As finds the *Error.
//
// It is also an fs.ReadDirFS, fs.StatFS, fs.ReadFileFS and fs.SubFS, and may be used from any goroutine.
type FS struct {
	client *Client
	ctx    context.Context
	// request is what each file is opened with; its revision is the commit.
	request OpenRequest
	// entries are those of the whole repo, by their path in it.
	entries map[string]*entry
	// root is the path of the folder that names begin in.
	root string
}

// entry is a file or folder of an FS, and an fs.DirEntry.
type entry struct {
	fileInfo
	// children of a folder are in the order of their names.
	children []fs.DirEntry
}

func (e *entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e *entry) Info() (fs.FileInfo, error) { return e.fileInfo, nil }
func (e *entry) String() string             { return fs.FormatDirEntry(e) }

// FS lists a revision, to be read as a file system at the commit that it stands for now. The context is that
// of the listing, and of all that is read. With LocalFilesOnly, or a client that is offline, it is what the
// cache has of the revision, as it is for DownloadSnapshot, which also says what is known to be missing.
func (c *Client) FS(ctx context.Context, request OpenRequest) (*FS, error) {
	if request.Filename != "" {
		return nil, invalid("filename", "is given, but a file system has all files of the repo")
	}
	listing, err := c.listForFS(ctx, request)
	if err != nil {
		return nil, err
	}
	request.Revision = listing.Commit
	fsys := &FS{client: c, ctx: ctx, request: request, root: "."}
	fsys.entries = map[string]*entry{".": {fileInfo: fileInfo{name: "."}}}
	for i := range listing.Files {
		if err := fsys.add(&listing.Files[i]); err != nil {
			return nil, err
		}
	}
	for _, folder := range fsys.entries {
		slices.SortFunc(folder.children, func(a, b fs.DirEntry) int {
			return strings.Compare(a.Name(), b.Name())
		})
	}
	return fsys, nil
}

// listForFS asks the Hub, or looks at what the cache has.
func (c *Client) listForFS(ctx context.Context, from OpenRequest) (*Listing, error) {
	what := &request{repoType: from.RepoType, revision: from.Revision, deadlines: from.Deadlines}
	if !from.LocalFilesOnly {
		listing, err := c.list(ctx, from.RepoID, what)
		if !errors.Is(err, ErrOffline) {
			return listing, err
		}
	}
	WithLocalFilesOnly().set(what)
	snapshot, err := c.download(ctx, from.RepoID, nil, what)
	if err != nil {
		return nil, err
	}
	listing := &Listing{Commit: snapshot.Commit}
	for _, file := range snapshot.FileTransfers {
		listing.Files = append(listing.Files, file.fileInfo())
	}
	return listing, nil
}

// add puts a file into its folder, which is made if need be.
func (f *FS) add(file *FileInfo) error {
	if !fs.ValidPath(file.Path) || f.entries[file.Path] != nil {
		return f.unfit(file.Path)
	}
	child := &entry{fileInfo: fileInfo{path.Base(file.Path), file}}
	for name := file.Path; ; {
		f.entries[name] = child
		name = path.Dir(name)
		folder := f.entries[name]
		known := folder != nil
		if !known {
			folder = &entry{fileInfo: fileInfo{name: path.Base(name)}}
		} else if !folder.IsDir() {
			return f.unfit(file.Path)
		}
		folder.children = append(folder.children, child)
		if known {
			return nil
		}
		child = folder
	}
}

// unfit returns the error for a listing that is none of files in folders. To leave the file out would show a
// repo that there isn't.
func (f *FS) unfit(file string) error {
	return f.failure(CodeNetworkError, "invalid_response", file,
		"the Hub lists this path, which is twice there, or none that a file system can have; "+
			"files can be opened one by one with Client.Open")
}

// failure returns an error about a path in the repo.
func (f *FS) failure(code Code, kind, file, problem string) *Error {
	repo, commit := f.request.RepoID, f.request.Revision
	return &Error{
		Code:    code,
		Message: repo + " at " + commit + ": " + file + ": " + problem,
		Details: Details{Kind: kind, Repo: repo, Revision: commit, File: file},
	}
}

// Commit is the commit that the files are of.
func (f *FS) Commit() string { return f.request.Revision }

// Open opens a *File, or a folder, which is an fs.ReadDirFile.
func (f *FS) Open(name string) (fs.File, error) {
	found, err := f.find("open", name)
	switch {
	case err != nil:
		return nil, err
	case found.IsDir():
		return &folder{entry: found, path: name}, nil
	}
	file, err := f.open(name)
	if err != nil { // a nil *File would be no nil fs.File
		return nil, err
	}
	return file, nil
}

// open opens a file that there is.
func (f *FS) open(name string) (*File, error) {
	request := f.request
	request.Filename = path.Join(f.root, name)
	file, err := f.client.Open(f.ctx, request)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	file.info = f.entries[request.Filename].fileInfo
	return file, nil
}

// find returns what has a name.
func (f *FS) find(operation, name string) (*entry, error) {
	if !fs.ValidPath(name) {
		problem := invalid("name", "is none that fs.ValidPath accepts")
		problem.causes = []error{fs.ErrInvalid}
		return nil, &fs.PathError{Op: operation, Path: name, Err: problem}
	}
	file := path.Join(f.root, name)
	if found := f.entries[file]; found != nil {
		return found, nil
	}
	problem := f.failure(CodeNotFound, "entry_not_found", file, "there is no such file or folder")
	return nil, &fs.PathError{Op: operation, Path: name, Err: problem}
}

// Stat describes a file or folder as the listing does. The Sys of a file is a *FileInfo, with hashes.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	found, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return found.fileInfo, nil
}

// ReadDir lists a folder, in the order of names.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	found, err := f.findFolder("readdir", name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(found.children), nil
}

func (f *FS) findFolder(operation, name string) (*entry, error) {
	found, err := f.find(operation, name)
	if err == nil && !found.IsDir() {
		err = &fs.PathError{Op: operation, Path: name, Err: invalid("name", "is a file")}
	}
	return found, err
}

// ReadFile returns what a file holds.
func (f *FS) ReadFile(name string) ([]byte, error) {
	found, err := f.find("open", name)
	switch {
	case err != nil:
		return nil, err
	case found.IsDir():
		return nil, isFolder("read", name)
	}
	file, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content := []byte{}
	for left := file.Size(); left > 0; left = file.Size() - int64(len(content)) {
		// In parts, so that a size that is only claimed takes no memory.
		begun := len(content)
		content = slices.Grow(content, int(min(left, 64<<20)))
		n, err := file.ReadAt(content[begun:min(cap(content), begun+int(left))], int64(begun))
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		content = content[:begun+n]
	}
	return content, nil
}

// Sub returns the file system of a folder: an *FS, too.
func (f *FS) Sub(dir string) (fs.FS, error) {
	if _, err := f.findFolder("sub", dir); err != nil {
		return nil, err
	}
	sub := *f
	sub.root = path.Join(f.root, dir)
	return &sub, nil
}

func isFolder(operation, name string) error {
	return &fs.PathError{Op: operation, Path: name, Err: invalid("name", "is a folder")}
}

// folder is one that is open.
type folder struct {
	entry *entry
	path  string

	mutex  sync.Mutex
	next   int
	closed bool
}

func (f *folder) Stat() (fs.FileInfo, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.closed {
		return nil, closedError("folder")
	}
	return f.entry.fileInfo, nil
}

func (f *folder) Read([]byte) (int, error) { return 0, isFolder("read", f.path) }

// ReadDir is that of fs.ReadDirFile.
func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.closed {
		return nil, closedError("folder")
	}
	left := f.entry.children[f.next:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	f.next += len(left)
	return slices.Clone(left), nil
}

func (f *folder) Close() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.closed = true
	return nil
}

// fileInfo is the fs.FileInfo of a file, or of a folder, of which nothing is listed.
type fileInfo struct {
	name string
	file *FileInfo
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) IsDir() bool        { return i.file == nil }
func (i fileInfo) ModTime() time.Time { return time.Time{} }

func (i fileInfo) Size() int64 {
	if i.file == nil {
		return 0
	}
	return i.file.Size
}

func (i fileInfo) Mode() fs.FileMode {
	if i.file == nil {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// Sys returns a *FileInfo, the caller's own; nil for folders.
func (i fileInfo) Sys() any {
	if i.file == nil {
		return nil
	}
	file := *i.file
	return &file
}

func (i fileInfo) String() string { return fs.FormatFileInfo(i) }

// fileInfo returns what a listing would say, as far as it is known.
func (t *FileTransfer) fileInfo() FileInfo {
	info := FileInfo{Path: t.Path, Size: t.BytesTotal, Kind: FileKindUnknown}
	switch t.HashKind {
	case HashKindGitBlob:
		info.Kind, info.Hash = FileKindGit, t.Hash
	case HashKindSHA256:
		info.Kind, info.SHA256 = FileKindLFS, t.Hash
	case HashKindXet:
		info.Kind, info.XetHash = FileKindXet, t.Hash
	}
	return info
}
