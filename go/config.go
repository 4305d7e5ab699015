package xet

// #include "xet.h"
import "C"

import (
	"fmt"
	"log/slog"
	"time"
)

// Config is the configuration of a client. The zero value means: as huggingface_hub is configured,
// by its environment variables and its files.
type Config struct {
	// Endpoint is the address of the Hub. Default: HF_ENDPOINT, else https://huggingface.co.
	Endpoint string
	// Token is a user access token. Default: HF_TOKEN, else the token that `hf auth login` saved, else
	// none. It is left out wherever a Config is printed.
	Token string `json:"-"`
	// Anonymous sends no token, whatever the environment holds. Excludes Token.
	Anonymous bool
	// CacheDir is the root of the Hub cache. Default: HF_HUB_CACHE, else $HF_HOME/hub.
	CacheDir string
	// MaxConcurrentDownloads is the number of files in flight at a time, 1 to 256. Default: 8.
	MaxConcurrentDownloads int
	// UserAgent is put before the library's own User-Agent, such as "my-service/1.2".
	UserAgent string
	// Offline never uses the network. Default: HF_HUB_OFFLINE.
	Offline bool
	// ConnectTimeout is the longest wait for a connection. Default: 10 s.
	ConnectTimeout time.Duration
	// ReadTimeout is the longest wait for the next bytes of an answer. Default: 15 s.
	ReadTimeout time.Duration
	// MaxAttempts is the number of attempts per request, 1 to 20. Default: 6.
	MaxAttempts int
	// Transport is which way Xet files come. Default: XET_FFI_TRANSPORT, else TransportHTTP if
	// HF_HUB_DISABLE_XET is set, else TransportAuto.
	Transport Transport
}

// String prints the configuration without the token.
func (c Config) String() string {
	type plain Config // without String, which would call itself
	c.Token = redacted(c.Token)
	return fmt.Sprintf("%+v", plain(c))
}

// GoString prints the configuration without the token.
func (c Config) GoString() string { return "xet.Config" + c.String() }

// LogValue logs the configuration without the token.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// redacted says whether there is a token, and no more.
func redacted(token string) string {
	if token == "" {
		return ""
	}
	return "***"
}

// native returns the configuration for C; what it points to belongs to the arena.
func (c *Config) native(a *arena) C.XetClientOptions {
	options := C.XetClientOptions{
		struct_size:              C.sizeof_XetClientOptions,
		max_concurrent_downloads: a.count("max_concurrent_downloads", c.MaxConcurrentDownloads),
		endpoint:                 a.text("endpoint", c.Endpoint),
		token:                    a.text("token", c.Token),
		cache_dir:                a.text("cache_dir", c.CacheDir),
		user_agent:               a.text("user_agent", c.UserAgent),
		connect_timeout_ms:       a.milliseconds("connect_timeout", c.ConnectTimeout),
		read_timeout_ms:          a.milliseconds("read_timeout", c.ReadTimeout),
		max_attempts:             a.count("max_attempts", c.MaxAttempts),
		transport:                a.transport(c.Transport),
	}
	if c.Anonymous {
		options.flags |= C.XET_CLIENT_ANONYMOUS
	}
	if c.Offline {
		options.flags |= C.XET_CLIENT_OFFLINE
	}
	return options
}
