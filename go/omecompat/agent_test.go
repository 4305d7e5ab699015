package omecompat_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/viper"
	xet "github.com/xet-ffi/xet-ffi/go/omecompat"
	"go.uber.org/fx"
)

// What follows uses the package as OME's agents, its model agent and its tests do: it has to compile with nothing
// but the import changed, and the tests run it.

// logging has what OME's logging.Interface has; its methods that return it keep it from being one of ours by
// its name alone.
type logging interface {
	WithField(key string, value interface{}) logging
	WithError(err error) logging

	Debug(msg string)
	Info(msg string)
	Warn(msg string)
	Error(msg string)
	Fatal(msg string)

	Debugf(format string, args ...interface{})
	Infof(format string, args ...interface{})
	Warnf(format string, args ...interface{})
	Errorf(format string, args ...interface{})
	Fatalf(format string, args ...interface{})
}

// Tests of theirs put functions of their own in the place of these.
var (
	newClient      = xet.NewClient
	downloadFile   = func(c *xet.Client, req *xet.DownloadRequest) (string, error) { return c.DownloadFile(req) }
	enableProgress = func(c *xet.Client, label string, every time.Duration) error {
		return c.EnableConsoleProgress(label, every)
	}
	downloadSnapshot = func(ctx context.Context, c *xet.Client, req *xet.SnapshotRequest) (string, error) {
		return c.DownloadSnapshotWithContext(ctx, req)
	}
	setProgressHandler = func(c *xet.Client, handler xet.ProgressHandler, every time.Duration) error {
		return c.SetProgressHandler(handler, every)
	}
	disableProgress = func(c *xet.Client) error { return c.DisableProgress() }

	snapshotWithProgress func(
		context.Context, *xet.DownloadConfig, xet.ProgressHandler, time.Duration,
	) (string, error) = xet.SnapshotDownloadWithProgress
	snapshotAlone func(context.Context, *xet.DownloadConfig) (string, error)               = xet.SnapshotDownload
	fileAlone     func(context.Context, *xet.DownloadConfig) (string, error)               = xet.HfHubDownload
	listAlone     func(context.Context, *xet.DownloadConfig) ([]xet.FileInfo, error)       = xet.ListRepoFiles
	listFiles     func(c *xet.Client, repoID, revision string) ([]xet.FileInfo, error)     = (*xet.Client).ListFiles
	snapshotPlain func(*xet.Client, *xet.SnapshotRequest) (string, error)                  = (*xet.Client).DownloadSnapshot
	fileContext   func(*xet.Client, context.Context, *xet.DownloadRequest) (string, error) = (*xet.Client).DownloadFileWithContext
)

var (
	_ io.Closer = (*xet.Client)(nil)
	_ error     = (*xet.XetError)(nil)
	_           = []string{xet.DefaultHFEndpoint, xet.DefaultHFCacheDir, xet.DefaultLogLevel, xet.RepoTypeModel}
	_           = uint32(xet.DefaultMaxConcurrentDownloads)
	_           = xet.DownloadConfig{
		RepoID: "", RepoType: "", Revision: "", CacheDir: "", LocalDir: "", Filename: "", Endpoint: "", Token: "",
		MaxWorkers: 0, AllowPatterns: []string{}, IgnorePatterns: []string{}, EtagTimeout: 0, ForceDownload: false,
		ForceFilename: "", ProxiesAuth: map[string]string{}, LocalFilesOnly: false, LogLevel: "",
	}
)

// replica is an agent that is made by fx, and asks for a client.
type replica struct {
	fx.In

	HubClient *xet.Client `optional:"true"`
}

var modules = []fx.Option{xet.Module}

// hubFile gives a file of a repo the methods that all that is replicated has.
type hubFile struct {
	xet.FileInfo
}

func (f hubFile) GetPath() string { return f.Path }
func (f hubFile) GetSize() int64  { return int64(f.Size) }

var _ = hubFile{FileInfo: xet.FileInfo{Path: "model.safetensors", Size: 1 << 30, Hash: "sha256:abc"}}

// modelAgent is set up as theirs is.
func modelAgent(v *viper.Viper, logger logging) (*xet.Config, error) {
	return xet.NewConfig(
		xet.WithDefaults(),
		xet.WithViper(v),
		xet.WithLogger(logger),
		xet.WithEnableProgressReporting(true),
	)
}

// seen is what the model agent writes down of progress.
type seen struct {
	phases                        map[string]bool
	totalBytes, completedBytes    uint64
	totalFiles, completedFiles    uint32
	currentFile                   string
	fileBytes, fileBytesCompleted uint64
}

// fetch downloads a model as the model agent does, and says how an error would be counted.
func fetch(
	ctx context.Context, agent *xet.Config, repo, revision, token, folder string, last *seen,
) (path, metric string, err error) {
	config := agent.ToDownloadConfig()
	config.LocalDir = folder
	config.RepoID = repo
	if revision != "" {
		config.Revision = revision
	}
	if token != "" {
		config.Token = token
	}
	var bytes atomic.Uint64
	path, err = snapshotWithProgress(ctx, config, func(update xet.ProgressUpdate) {
		if update.CompletedBytes > bytes.Load() {
			bytes.Store(update.CompletedBytes)
		}
		if last.phases == nil {
			last.phases = map[string]bool{}
		}
		last.phases[update.Phase.String()] = true
		last.totalBytes, last.completedBytes = update.TotalBytes, update.CompletedBytes
		last.totalFiles, last.completedFiles = update.TotalFiles, update.CompletedFiles
		last.currentFile = update.CurrentFile
		last.fileBytes, last.fileBytesCompleted = update.CurrentFileTotalBytes, update.CurrentFileCompletedBytes
	}, 10*time.Millisecond)
	switch {
	case err == nil:
		return path, "", nil
	case strings.Contains(err.Error(), "429") || strings.Contains(err.Error(), "rate limit"):
		return "", "rate_limit_error", err
	}
	return "", "hf_download_error", err
}

// code returns the number that callers branch on; 0: the error has none.
func code(err error) int {
	var failure *xet.XetError
	if !errors.As(err, &failure) {
		return 0
	}
	return failure.Code
}
