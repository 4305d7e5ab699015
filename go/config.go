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
	// MaxConcurrentDownloads is the number of large files (over 512 KiB) in flight at a time over all calls,
	// 1 to 256. Default: 8. Smaller files don't wait for them.
	MaxConcurrentDownloads int
	// UserAgent is put before the library's own User-Agent, such as "my-service/1.2".
	UserAgent string
	// Offline never uses the network. Default: HF_HUB_OFFLINE.
	Offline bool
	// ConnectTimeout is the longest wait for a connection. Default: 10 s.
	ConnectTimeout time.Duration
	// FirstByteTimeout is the longest wait for an answer to begin, connecting included. Default:
	// ReadTimeout, if that is given, else 15 s.
	FirstByteTimeout time.Duration
	// ReadTimeout is the longest silence within an answer. Default: HF_HUB_DOWNLOAD_TIMEOUT, else
	// 10 s.
	ReadTimeout time.Duration
	// MinSpeed is the number of bytes per second below which an answer counts as silent, once it
	// has been that slow for half of ReadTimeout. Default: 2,048; 1 means that any speed will do.
	MinSpeed int
	// MaxBytesPerSecond is the most content that all calls together receive. Default: no limit.
	MaxBytesPerSecond int64
	// MaxAttempts is the number of attempts per request, 1 to 20; after a timeout there are 3 at most.
	// Default: 6.
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
		first_byte_timeout_ms:    a.milliseconds("first_byte_timeout", c.FirstByteTimeout),
		read_timeout_ms:          a.milliseconds("read_timeout", c.ReadTimeout),
		min_speed:                a.count("min_speed", c.MinSpeed),
		max_bytes_per_second:     a.bytes("max_bytes_per_second", c.MaxBytesPerSecond),
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
