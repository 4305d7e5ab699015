package omecompat

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// DownloadConfig says what to download, from where, and where to. Where none of Endpoint, Token and CacheDir
// is given, all three come from the environment, as huggingface_hub has them; otherwise what is empty means
// what it means in a Config, and Xet is enabled.
type DownloadConfig struct {
	RepoID   string
	RepoType string
	Revision string
	CacheDir string
	// LocalDir is the folder that gets the files. SnapshotDownload needs one.
	LocalDir string
	// Filename is for HfHubDownload alone.
	Filename string
	Endpoint string
	// Token is left out wherever a DownloadConfig is printed.
	Token string `json:"-"`
	// MaxWorkers is the number of large files in flight at a time; 0: 4.
	MaxWorkers int
	// AllowPatterns and IgnorePatterns are for snapshots: see xet.WithAllowPatterns. Nil or empty: all.
	AllowPatterns  []string
	IgnorePatterns []string
	// EtagTimeout is the longest wait for an answer to begin, in seconds; 0: 15.
	EtagTimeout int
	// ForceDownload fetches even what is present and intact.
	ForceDownload bool
	// ForceFilename must be empty: files have the names that they have in the repo.
	ForceFilename string
	// ProxiesAuth must be empty: proxies, and users for them, are those of HTTPS_PROXY, HTTP_PROXY and
	// ALL_PROXY.
	ProxiesAuth map[string]string
	// LocalFilesOnly uses no network.
	LocalFilesOnly bool
	// LogLevel is that of a Config.
	LogLevel string

	logger Logger
}

// HfHubDownload downloads one file, and returns where it is now.
func HfHubDownload(ctx context.Context, config *DownloadConfig) (string, error) {
	client, err := config.client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	return client.file(ctx, &DownloadRequest{
		RepoID:   config.RepoID,
		RepoType: config.RepoType,
		Revision: config.Revision,
		Filename: config.Filename,
		LocalDir: config.LocalDir,
	}, config.flags()...)
}

// SnapshotDownload downloads the files of a revision into LocalDir, and returns its absolute path.
func SnapshotDownload(ctx context.Context, config *DownloadConfig) (string, error) {
	return SnapshotDownloadWithProgress(ctx, config, nil, 0)
}

// SnapshotDownloadWithProgress is SnapshotDownload with a function that is told of progress: see
// Client.SetProgressHandler.
func SnapshotDownloadWithProgress(
	ctx context.Context, config *DownloadConfig, progressHandler ProgressHandler, throttle time.Duration,
) (string, error) {
	client, err := config.client()
	if err != nil {
		return "", err
	}
	defer client.Close()
	if err := client.SetProgressHandler(progressHandler, throttle); err != nil {
		return "", err
	}
	return client.snapshot(ctx, &SnapshotRequest{
		RepoID:         config.RepoID,
		RepoType:       config.RepoType,
		Revision:       config.Revision,
		LocalDir:       config.LocalDir,
		AllowPatterns:  config.AllowPatterns,
		IgnorePatterns: config.IgnorePatterns,
	}, config.flags()...)
}

// ListRepoFiles lists the files of a revision.
func ListRepoFiles(ctx context.Context, config *DownloadConfig) ([]FileInfo, error) {
	client, err := config.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.list(ctx, config.RepoID, config.RepoType, config.Revision)
}

// client makes a client for one call.
func (c *DownloadConfig) client() (*Client, error) {
	switch {
	case c == nil:
		return nil, invalid("config", "is nil")
	case c.MaxWorkers < 0:
		return nil, invalid("max_workers", fmt.Sprintf("must not be negative, but is %d", c.MaxWorkers))
	case c.EtagTimeout < 0:
		return nil, invalid("etag_timeout", fmt.Sprintf("must not be negative, but is %d", c.EtagTimeout))
	case c.ForceFilename != "":
		return nil, invalid("force_filename", "is not supported: a file has the name that it has in the repo")
	case len(c.ProxiesAuth) > 0:
		return nil, invalid("proxies_auth", "is not supported: name user and password in HTTPS_PROXY")
	}
	config := Config{
		Endpoint:               c.Endpoint,
		Token:                  c.Token,
		CacheDir:               c.CacheDir,
		MaxConcurrentDownloads: uint32(min(c.MaxWorkers, math.MaxInt32)),
		EnableDedup:            true,
	}
	native := config.native()
	native.FirstByteTimeout = time.Duration(c.EtagTimeout) * time.Second
	if c.Endpoint != "" || c.CacheDir != "" {
		native.Anonymous = c.Token == ""
	}
	return newClient(native, c.LogLevel, c.logger)
}

// flags returns what a call does otherwise than those of a Client.
func (c *DownloadConfig) flags() []common {
	var options []common
	if c.ForceDownload {
		options = append(options, xet.WithForceDownload())
	}
	if c.LocalFilesOnly {
		options = append(options, xet.WithLocalFilesOnly())
	}
	return options
}

// String prints the configuration without the token.
func (c DownloadConfig) String() string {
	type plain DownloadConfig // without String, which would call itself
	c.Token = redacted(c.Token)
	return fmt.Sprintf("%+v", plain(c))
}

// GoString prints the configuration without the token.
func (c DownloadConfig) GoString() string { return "omecompat.DownloadConfig" + c.String() }

// LogValue logs the configuration without the token.
func (c DownloadConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }
