package omecompat

import (
	"context"
	"io"
	"net/url"
	"sync"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// Client downloads from one Hub with one token and one cache. It may be used by several goroutines at a
// time.
type Client struct {
	inner *xet.Client

	mu       sync.Mutex // guards what is below
	handler  ProgressHandler
	throttle time.Duration
}

var _ io.Closer = (*Client)(nil)

// maxConcurrentDownloads is the most that package xet takes.
const maxConcurrentDownloads = 256

// NewClient makes a client; nil means DefaultHFEndpoint, DefaultHFCacheDir and so on, with EnableDedup. It
// uses no network, and doesn't call Validate: what is empty means the default of xet.Config, except
// that an empty Token sends none.
func NewClient(config *Config) (*Client, error) {
	if config == nil {
		config = defaults()
	}
	native := config.native()
	native.Anonymous = config.Token == ""
	return newClient(native, config.LogLevel, config.Logger)
}

func newClient(config xet.Config, logLevel string, logger Logger) (*Client, error) {
	if err := followLogs(logLevel, logger); err != nil {
		return nil, err
	}
	inner, err := xet.NewClient(&config)
	if err != nil {
		return nil, convert(err)
	}
	return &Client{inner: inner}, nil
}

// native returns what the configuration means to package xet.
func (c *Config) native() xet.Config {
	native := xet.Config{
		Endpoint:               c.Endpoint,
		Token:                  c.Token,
		CacheDir:               c.CacheDir,
		MaxConcurrentDownloads: int(min(c.MaxConcurrentDownloads, maxConcurrentDownloads)),
	}
	if native.MaxConcurrentDownloads == 0 {
		native.MaxConcurrentDownloads = DefaultMaxConcurrentDownloads
	}
	if !c.EnableDedup {
		native.Transport = xet.TransportHTTP
	}
	return native
}

// native returns the client of package xet, which may be nil, and is closed then.
func (c *Client) native() *xet.Client {
	if c == nil {
		return nil
	}
	return c.inner
}

// Close closes the client. Downloads that are running finish normally, later ones fail. Closing twice is
// fine, and always returns nil.
func (c *Client) Close() error { return c.native().Close() }

// FileInfo is one file of a repo.
type FileInfo struct {
	// Path is relative to the repo, with "/".
	Path string
	// Hash is the git blob id; for LFS and Xet files, that of the pointer.
	Hash string
	// Size is that of the content, in bytes.
	Size uint64
}

// ListFiles lists the files of a model at a revision; empty: main.
func (c *Client) ListFiles(repoID string, revision string) ([]FileInfo, error) {
	return c.list(context.Background(), repoID, "", revision)
}

func (c *Client) list(ctx context.Context, repoID, repoType, revision string) ([]FileInfo, error) {
	files, err := c.native().ListFiles(orBackground(ctx), repoID,
		xet.WithRepoType(xet.RepoType(repoType)), xet.WithRevision(unescaped(revision)))
	if err != nil {
		return nil, convert(err)
	}
	infos := make([]FileInfo, len(files))
	for i, file := range files {
		infos[i] = FileInfo{Path: file.Path, Hash: file.Hash, Size: uint64(file.Size)}
	}
	return infos, nil
}

// DownloadRequest says which file of which repo to download. RepoType is "models" (the default),
// "datasets" or "spaces", or one of them without its s. Revision may be escaped as in a URL; empty: main.
type DownloadRequest struct {
	RepoID   string
	RepoType string
	Revision string
	// Filename is the file's path in the repo.
	Filename string
	// LocalDir is the folder that gets the file, at its path in the repo. Empty: the cache.
	LocalDir string
}

// SnapshotRequest says which files of which repo to download. RepoType and Revision are those of
// DownloadRequest.
type SnapshotRequest struct {
	RepoID   string
	RepoType string
	Revision string
	// LocalDir is the folder that gets the files. It must be given.
	LocalDir string
	// AllowPatterns and IgnorePatterns choose from the files: see xet.WithAllowPatterns. Nil or empty: all.
	AllowPatterns  []string
	IgnorePatterns []string
}

// DownloadFile is DownloadFileWithContext without a context.
func (c *Client) DownloadFile(req *DownloadRequest) (string, error) {
	return c.DownloadFileWithContext(context.Background(), req)
}

// DownloadFileWithContext downloads a file, and returns where it is now. It returns within 100 ms when the
// context ends. A nil context never ends.
func (c *Client) DownloadFileWithContext(ctx context.Context, req *DownloadRequest) (string, error) {
	return c.file(ctx, req)
}

// DownloadSnapshot is DownloadSnapshotWithContext without a context.
func (c *Client) DownloadSnapshot(req *SnapshotRequest) (string, error) {
	return c.DownloadSnapshotWithContext(context.Background(), req)
}

// DownloadSnapshotWithContext downloads the files of a revision, and returns the folder, absolute. It
// returns within 100 ms when the context ends. A nil context never ends.
func (c *Client) DownloadSnapshotWithContext(ctx context.Context, req *SnapshotRequest) (string, error) {
	return c.snapshot(ctx, req)
}

// common is an option of files and of snapshots.
type common interface {
	xet.FileOption
	xet.SnapshotOption
}

func (c *Client) file(ctx context.Context, req *DownloadRequest, more ...common) (string, error) {
	if req == nil {
		return "", invalid("request", "is nil")
	}
	folder, err := absolute(req.LocalDir)
	if err != nil {
		return "", err
	}
	var options []xet.FileOption
	for _, option := range c.options(req.RepoType, req.Revision, folder, more) {
		options = append(options, option)
	}
	return into(folder, func() (*xet.Transfer, error) {
		return c.native().DownloadFile(orBackground(ctx), req.RepoID, req.Filename, options...)
	})
}

func (c *Client) snapshot(ctx context.Context, req *SnapshotRequest, more ...common) (string, error) {
	switch {
	case req == nil:
		return "", invalid("request", "is nil")
	case req.LocalDir == "":
		return "", invalid("local_dir", "must be the folder that gets the files")
	}
	folder, err := absolute(req.LocalDir)
	if err != nil {
		return "", err
	}
	options := []xet.SnapshotOption{xet.WithIgnorePatterns(req.IgnorePatterns...)}
	// Requests come from files and flags, where "no patterns" has no nil.
	if len(req.AllowPatterns) > 0 {
		options = append(options, xet.WithAllowPatterns(req.AllowPatterns...))
	}
	for _, option := range c.options(req.RepoType, req.Revision, folder, more) {
		options = append(options, option)
	}
	return into(folder, func() (*xet.Transfer, error) {
		return c.native().DownloadSnapshot(orBackground(ctx), req.RepoID, options...)
	})
}

// options returns what files and snapshots have in common.
func (c *Client) options(repoType, revision, localDir string, more []common) []common {
	options := []common{
		xet.WithRepoType(xet.RepoType(repoType)), xet.WithRevision(unescaped(revision)), xet.WithLocalDir(localDir),
	}
	if c != nil {
		options = append(options, c.progress()...)
	}
	return append(options, more...)
}

// unescaped returns a revision whose caller may have escaped it, as a part of a URL: that is what OME does
// with "refs/pr/7".
func unescaped(revision string) string {
	if plain, err := url.PathUnescape(revision); err == nil {
		return plain
	}
	return revision // a "%" that begins no escape is one
}

func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}
