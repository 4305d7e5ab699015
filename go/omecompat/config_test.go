package omecompat_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/viper"
	"github.com/xet-ffi/xet-ffi/go/internal/testhub"
	xet "github.com/xet-ffi/xet-ffi/go/omecompat"
	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// notes is a logger that keeps what it is told.
type notes struct {
	logging
	mu    sync.Mutex
	lines []string
}

func (n *notes) write(level, format string, args []interface{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, level+fmt.Sprintf(format, args...))
}

func (n *notes) Debugf(format string, args ...interface{}) { n.write("debug: ", format, args) }
func (n *notes) Infof(format string, args ...interface{})  { n.write("info: ", format, args) }
func (n *notes) Warnf(format string, args ...interface{})  { n.write("warn: ", format, args) }
func (n *notes) Errorf(format string, args ...interface{}) { n.write("error: ", format, args) }

// take returns how many lines of each level were written, and forgets them.
func (n *notes) take() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	counts := map[string]int{}
	for _, line := range n.lines {
		level, _, _ := strings.Cut(line, ":")
		counts[level]++
	}
	n.lines = nil
	return counts
}

// A configuration comes from viper, its environment and the defaults, in the order in which they are named.
func TestConfig(t *testing.T) {
	t.Setenv("HF_TOKEN", testhub.AliceToken)
	v := viper.New()
	v.Set("endpoint", "https://hub.example.com")
	v.Set("max_concurrent_downloads", "9")
	v.Set("enable_dedup", true)
	v.Set("enable_progress_reporting", false)
	logger := &notes{}
	config, err := modelAgent(v, logger)
	if err != nil {
		t.Fatal(err)
	}
	if config.Endpoint != "https://hub.example.com" || config.Token != testhub.AliceToken ||
		config.CacheDir != xet.DefaultHFCacheDir || config.MaxConcurrentDownloads != 9 || !config.EnableDedup ||
		config.LogLevel != "info" || !config.EnableProgressReporting || config.Logger != xet.Logger(logger) {
		t.Errorf("%+v", config)
	}
	download := config.ToDownloadConfig()
	if download.Endpoint != config.Endpoint || download.Token != config.Token || download.MaxWorkers != 9 ||
		download.CacheDir != config.CacheDir || download.Revision != "main" || download.RepoType != xet.RepoTypeModel {
		t.Errorf("%+v", download)
	}
	encoded, err := json.Marshal([]any{config, download})
	if err != nil || strings.Contains(string(encoded), testhub.AliceToken) {
		t.Errorf("%v, %s", err, encoded)
	}
	for _, text := range []string{
		fmt.Sprint(config), fmt.Sprintf("%+v %#v", *config, *config), config.LogValue().String(),
		fmt.Sprint(download), fmt.Sprintf("%+v %#v", *download, *download), download.LogValue().String(),
	} {
		if strings.Contains(text, testhub.AliceToken) || !strings.Contains(text, "***") {
			t.Error(text)
		}
	}

	v.Set("max_concurrent_downloads", "many")
	for _, option := range []xet.Option{xet.WithViper(v), xet.WithLogger(nil)} {
		if config, err := xet.NewConfig(nil, option); err == nil || config != nil {
			t.Error(config, err)
		}
	}
	empty, err := xet.NewConfig()
	if err != nil || empty.Validate() == nil {
		t.Error(err)
	}
	if err := empty.Apply(xet.WithDefaults()); err != nil || empty.Validate() != nil || empty.EnableDedup {
		t.Errorf("%v, %v, %+v", err, empty.Validate(), empty)
	}
	client, err := xet.NewClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

// The library's logs go to the configuration's logger, at its level, also by way of a DownloadConfig.
func TestLogs(t *testing.T) {
	logger := &notes{}
	config := &xet.Config{
		Logger: logger, LogLevel: "debug", Endpoint: hub.Endpoint, CacheDir: t.TempDir(),
		MaxConcurrentDownloads: 4,
	}
	fetchOnce := func() {
		t.Helper()
		var last seen
		if _, _, err := fetch(t.Context(), config, modelRepo, "", "", t.TempDir(), &last); err != nil {
			t.Fatal(err)
		}
	}
	fetchOnce()
	if counts := logger.take(); counts["debug"] == 0 || counts["error"] != 0 {
		t.Error(counts)
	}
	config.LogLevel = "error"
	fetchOnce()
	if counts := logger.take(); len(counts) != 0 {
		t.Error(counts)
	}
	xet.SetLogLevel("loud") // is "info", and says so
	if counts := logger.take(); counts["warn"] != 1 {
		t.Error(counts)
	}
	xet.SetLogLevel("warn")
}

// Module makes the client of an agent out of what its application has, and closes it when that stops.
func TestModule(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	var agent replica
	app := fxtest.New(t,
		fx.Supply(fx.Annotate(zap.New(core), fx.ResultTags(`name:"another_log"`))),
		fx.Provide(func() *viper.Viper {
			v := viper.New()
			v.Set("endpoint", hub.Endpoint)
			v.Set("cache_dir", t.TempDir())
			v.Set("log_level", "debug")
			return v
		}),
		fx.Options(modules...),
		fx.Invoke(func(r replica) { agent = r }),
	)
	app.RequireStart()
	request := &xet.DownloadRequest{RepoID: modelRepo, Filename: "config.json", LocalDir: t.TempDir()}
	path, err := agent.HubClient.DownloadFile(request)
	if err != nil || path != filepath.Join(request.LocalDir, "config.json") {
		t.Error(path, err)
	}
	if logs.Len() == 0 {
		t.Error("zap was told nothing")
	}
	app.RequireStop()
	if _, err := agent.HubClient.DownloadFile(request); code(err) != 1 {
		t.Error(err)
	}
	xet.SetLogLevel("warn")
}
