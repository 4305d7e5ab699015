//go:build cgo

package xet

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// The functions of this file have the shape of the Hub clients that Go services use today, so that
// moving to this package is a change of imports. New code is better off with Client: each of these
// functions makes a client, and drops the report.

// DownloadConfig says what to download, from where, and where to. Empty fields mean defaults, as in
// Config and the options of Client.
type DownloadConfig struct {
	RepoID   string
	RepoType string
	Revision string
	// Filename is for HfHubDownload alone.
	Filename string
	// AllowPatterns and IgnorePatterns are for snapshots. Nil or empty: all files.
	AllowPatterns  []string
	IgnorePatterns []string

	Endpoint string
	// Token is left out wherever a DownloadConfig is printed.
	Token    string `json:"-"`
	CacheDir string
	// LocalDir receives real files. Empty: the cache.
	LocalDir string
	// MaxWorkers is the number of files in flight at a time.
	MaxWorkers int
	// Transport is which way Xet files come.
	Transport      Transport
	ForceDownload  bool
	LocalFilesOnly bool
}

// HfHubDownload downloads one file and returns its path.
func HfHubDownload(ctx context.Context, config *DownloadConfig) (string, error) {
	client, err := config.client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	return pathOf(client.download(ctx, config.RepoID, &config.Filename, config.request()))
}

// SnapshotDownload downloads the files of a revision and returns their folder.
func SnapshotDownload(ctx context.Context, config *DownloadConfig) (string, error) {
	return SnapshotDownloadWithProgress(ctx, config, nil, 0)
}

// SnapshotDownloadWithProgress is SnapshotDownload with a function that is told of progress, at most
// once in `throttle` (0: 50 ms); see WithProgress.
func SnapshotDownloadWithProgress(
	ctx context.Context, config *DownloadConfig, progress func(Progress), throttle time.Duration,
) (string, error) {
	client, err := config.client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	request := config.request()
	request.progress, request.interval = progress, throttle
	// These configurations come from files and flags, where "no patterns" has no nil.
	if len(config.AllowPatterns) > 0 {
		request.allow = config.AllowPatterns
	}
	request.ignore = config.IgnorePatterns
	return pathOf(client.download(ctx, config.RepoID, nil, request))
}

// ListRepoFiles lists the files of a revision.
func ListRepoFiles(ctx context.Context, config *DownloadConfig) ([]FileInfo, error) {
	client, err := config.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.ListFiles(ctx, config.RepoID,
		WithRepoType(RepoType(config.RepoType)), WithRevision(config.Revision))
}

// String prints the configuration without the token.
func (c DownloadConfig) String() string {
	type plain DownloadConfig // without String, which would call itself
	c.Token = redacted(c.Token)
	return fmt.Sprintf("%+v", plain(c))
}

// GoString prints the configuration without the token.
func (c DownloadConfig) GoString() string { return "xet.DownloadConfig" + c.String() }

// LogValue logs the configuration without the token.
func (c DownloadConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c *DownloadConfig) client() (*Client, error) {
	if c == nil {
		return nil, invalid("config", "is nil")
	}
	return NewClient(&Config{
		Endpoint:               c.Endpoint,
		Token:                  c.Token,
		CacheDir:               c.CacheDir,
		MaxConcurrentDownloads: c.MaxWorkers,
		Transport:              c.Transport,
	})
}

// request is what a file and a snapshot have in common.
func (c *DownloadConfig) request() *request {
	options := []DownloadOption{
		WithRepoType(RepoType(c.RepoType)), WithRevision(c.Revision), WithLocalDir(c.LocalDir),
	}
	if c.ForceDownload {
		options = append(options, WithForceDownload())
	}
	r := newRequest(options)
	if c.LocalFilesOnly {
		WithLocalFilesOnly().set(r)
	}
	return r
}

func pathOf(transfer *Transfer, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return transfer.Path, nil
}
