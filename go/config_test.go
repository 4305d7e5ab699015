package xet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// What can't be a configuration is refused by name.
func TestBadConfigs(t *testing.T) {
	for field, config := range map[string]*xet.Config{
		"config":                   nil,
		"endpoint":                 {Endpoint: "not a url"},
		"token":                    {Token: "a\x00b"},
		"cache_dir":                {CacheDir: "\x00"},
		"max_concurrent_downloads": {MaxConcurrentDownloads: -1},
		"max_attempts":             {MaxAttempts: 21},
		"connect_timeout":          {ConnectTimeout: -time.Second},
		"read_timeout":             {ReadTimeout: 1200 * time.Hour},
		"headers":                  {Headers: map[string][]string{"Authorization": {"Bearer a"}}},
		"headers[0]":               {Headers: map[string][]string{"a b": {"c"}}},
	} {
		client, err := xet.NewClient(config)
		if client != nil {
			t.Errorf("%s: got a client", field)
		}
		wantInvalid(t, err, field)
	}
}

// Arguments that C can't take are refused by name.
func TestBadArguments(t *testing.T) {
	client := newClient(t)
	_, err := client.DownloadFile(t.Context(), modelRepo, "a\x00b")
	wantInvalid(t, err, "filename")
	_, err = client.ListFiles(t.Context(), "a\x00b")
	wantInvalid(t, err, "repo_id")
	_, err = client.DownloadSnapshot(t.Context(), modelRepo, xet.WithIgnorePatterns("\x00"))
	wantInvalid(t, err, "ignore_patterns")
	_, err = client.DownloadSnapshot(t.Context(), modelRepo, xet.WithProgressInterval(-1))
	wantInvalid(t, err, "progress_interval")
	var none context.Context
	_, err = client.DownloadSnapshot(none, modelRepo)
	wantInvalid(t, err, "ctx")
}

// A client says what it works with, and where its token comes from, but not the token.
func TestInfo(t *testing.T) {
	cache, xetCache := t.TempDir(), t.TempDir()
	t.Setenv("HF_XET_CACHE", xetCache)
	given := xet.Config{
		Endpoint: hub.Endpoint + "/", Token: aliceToken, CacheDir: cache, MaxConcurrentDownloads: 3,
		Transport: xet.TransportHTTP, Offline: true,
	}
	want := xet.ClientInfo{
		Endpoint: hub.Endpoint, CacheDir: cache, XetCacheDir: xetCache, TokenSource: "argument",
		Transport: xet.TransportHTTP, MaxConcurrentDownloads: 3, Offline: true,
	}
	info := func(config *xet.Config) xet.ClientInfo {
		client, err := xet.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		info, err := client.Info()
		if err != nil || strings.Contains(fmt.Sprintf("%+v", info), aliceToken) {
			t.Fatalf("%+v, %v", info, err)
		}
		return *info
	}
	if found := info(&given); found != want {
		t.Errorf("%+v, not %+v", found, want)
	}
	t.Setenv("HF_ENDPOINT", hub.Endpoint)
	t.Setenv("HF_TOKEN", aliceToken)
	t.Setenv("HF_HUB_CACHE", cache)
	want = xet.ClientInfo{
		Endpoint: hub.Endpoint, CacheDir: cache, XetCacheDir: xetCache, TokenSource: "HF_TOKEN",
		Transport: xet.TransportAuto, MaxConcurrentDownloads: 8,
	}
	if found := info(&xet.Config{}); found != want {
		t.Errorf("%+v, not %+v", found, want)
	}
	if found := info(&xet.Config{Anonymous: true}); !found.Anonymous || found.TokenSource != "none" {
		t.Errorf("%+v", found)
	}
	client := newClient(t)
	client.Close()
	for _, client := range []*xet.Client{client, nil, {}} {
		_, err := client.Info()
		wantClosed(t, err)
	}
}

// The zero configuration takes endpoint and token from the environment, as it is at that time.
func TestEnvironment(t *testing.T) {
	t.Setenv("HF_ENDPOINT", hub.Endpoint)
	t.Setenv("HF_TOKEN", aliceToken)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	client, err := xet.NewClient(&xet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	transfer, err := client.DownloadFile(t.Context(), gatedRepo, "secret.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(transfer.Path, os.Getenv("HF_HUB_CACHE")) {
		t.Error(transfer.Path)
	}
}

// A token appears in no form in which a configuration can be printed.
func TestTokensAreNotPrinted(t *testing.T) {
	config := xet.Config{Token: aliceToken, Endpoint: "http://e"}
	for _, config := range []any{config, &config} {
		encoded, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("made", "config", config)
		for _, printed := range []string{
			string(encoded), logged.String(), fmt.Sprint(config), fmt.Sprintf("%+v", config),
			fmt.Sprintf("%#v", config), fmt.Sprintf("%s", []any{config}),
		} {
			if strings.Contains(printed, aliceToken) || !strings.Contains(printed, "http://e") {
				t.Error(printed)
			}
		}
	}
}
