// Package xet lists, downloads and uploads Hugging Face repositories over the Xet protocol.
//
// Every downloaded file is checked against the hash that the Hub published before it gets its name. The cache
// and the environment variables are those of huggingface_hub. It is a thin face of libxet, which a module
// for each platform brings as an archive; with the build tag xet_system, programs load the libxet.so that
// pkg-config knows instead (xet.pc), and with xet_static they hold the archive that it knows. cgo and a C
// compiler are needed.
//
//	client, err := xet.NewClient(&xet.Config{})
//	if err != nil { ... }
//	defer client.Close()
//	model, err := client.DownloadSnapshot(ctx, "openai-community/gpt2",
//		xet.WithAllowPatterns("*.json", "*.safetensors"))
//	switch {
//	case errors.Is(err, xet.ErrGatedRepo): ...
//	case err != nil: ...
//	}
//	fmt.Println(model.Path, model.BytesNetwork)
//
// All functions may be called from any goroutine. All errors are *Error.
package xet

/*
#include <stdlib.h>
#include "callbacks.h"
*/
import "C"

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"
	"unsafe"
)

// Client is a connection to one Hub with one identity and one cache. It is cheap to make, uses no
// network before its first call, and serves many goroutines at a time.
type Client struct {
	handle *handle[*C.XetClient]
}

// NewClient creates a client. &Config{} means all defaults; a nil config is an error.
func NewClient(config *Config) (*Client, error) {
	if config == nil {
		return nil, invalid("config", "is nil; use &xet.Config{} for the defaults")
	}
	if err := checkABI(); err != nil {
		return nil, err
	}
	if err := followLogger(); err != nil {
		return nil, err
	}
	var args arena
	defer args.free()
	options := config.native(&args)
	if args.err != nil {
		return nil, args.err
	}
	var native *C.XetClient
	stress()
	if err := takeError(C.xet_client_create(&options, &native)); err != nil {
		return nil, err
	}
	client := &Client{newHandle(native)}
	runtime.AddCleanup(client, (*handle[*C.XetClient]).close, client.handle)
	return client, nil
}

// Close closes the client. Calls that other goroutines have begun finish normally; later ones fail
// with ErrClosed. It never waits and always returns nil. Closing twice is fine, and so is not
// closing: the garbage collector does it, too.
func (c *Client) Close() error {
	if c != nil {
		c.handle.close()
	}
	return nil
}

// ClientInfo is what a client works with, as it was found when it was made.
type ClientInfo struct {
	// Endpoint is the Hub's address, without a slash at its end.
	Endpoint string `json:"endpoint"`
	// CacheDir is the root of the Hub cache, and XetCacheDir where Xet state lives, the index of what
	// is on this machine too. Both are absolute.
	CacheDir    string `json:"cache_dir"`
	XetCacheDir string `json:"xet_cache_dir"`
	// TokenSource is where the token comes from: "argument", the name of an environment variable, the
	// absolute path of the token file, or "none". It is never the token.
	TokenSource string `json:"token_source"`
	// Transport is never empty.
	Transport              Transport `json:"transport"`
	MaxConcurrentDownloads int       `json:"max_concurrent_downloads"`
	// Anonymous and Offline hold whether the Config or the environment says so.
	Anonymous bool `json:"anonymous"`
	Offline   bool `json:"offline"`
}

// Info says what the client works with. It uses no network.
func (c *Client) Info() (*ClientInfo, error) {
	if c == nil {
		return nil, closedError("client")
	}
	client, err := c.handle.acquire()
	if err != nil {
		return nil, err
	}
	defer c.handle.release()
	var info *C.XetClientInfo
	defer func() { C.xet_client_info_free(info) }()
	stress()
	if err := takeError(C.xet_client_info(client, &info)); err != nil {
		return nil, err
	}
	return newClientInfo(info), nil
}

// run is handle.run for a client that may be nil.
func (c *Client) run(
	ctx context.Context, repoID string, progress func(Progress),
	function func(*C.XetClient, C.uintptr_t) *C.XetError,
) error {
	if c == nil {
		return closedError("client")
	}
	return c.handle.run(ctx, repoID, progress, function)
}

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
	// 1 to 256. Default: 8. Smaller files don't wait for them. Of 8 and more, one call has at most seven eighths.
	MaxConcurrentDownloads int
	// UserAgent is put before the library's own User-Agent, such as "my-service/1.2".
	UserAgent string
	// Headers, a http.Header, go to the Hub with each request, and to nobody else: neither to storage, nor to where the Hub
	// redirects to. Authorization, User-Agent and what requests have of their own can't be among them. Their
	// values are left out wherever a Config is printed.
	Headers map[string][]string `json:"-"`
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
	// SharedCache is where the nodes of a deployment share what they have fetched:
	// redis://[user:password@]host:port[/db], rediss:// for TLS, redis+unix:///socket, or
	// file:///folder on a disk that all of them see. Whatever becomes of it, files are right.
	// "none" is nowhere. Default: XET_FFI_SHARED_CACHE, else "none".
	SharedCache string `json:"-"`
	// SharedCacheSecret is the secret of that deployment, which all of its nodes have: names and keys
	// there are derived from it. Default: XET_FFI_SHARED_CACHE_SECRET, else none.
	SharedCacheSecret string `json:"-"`
}

// String prints the configuration without secrets.
func (c Config) String() string {
	type plain Config // without String, which would call itself
	c.Token = redacted(c.Token)
	c.SharedCache, c.SharedCacheSecret = redacted(c.SharedCache), redacted(c.SharedCacheSecret)
	headers := make(map[string][]string, len(c.Headers))
	for name := range c.Headers {
		headers[name] = nil
	}
	c.Headers = headers
	return fmt.Sprintf("%+v", plain(c))
}

// GoString prints the configuration without secrets.
func (c Config) GoString() string { return "xet.Config" + c.String() }

// LogValue logs the configuration without secrets.
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
		shared_cache:             a.text("shared_cache", c.SharedCache),
		shared_cache_secret:      a.text("shared_cache_secret", c.SharedCacheSecret),
	}
	options.headers, options.headers_len = a.headers("headers", c.Headers)
	if c.Anonymous {
		options.flags |= C.XET_CLIENT_ANONYMOUS
	}
	if c.Offline {
		options.flags |= C.XET_CLIENT_OFFLINE
	}
	return options
}

// Transport is which way a client's Xet files come. Git and LFS files come over plain HTTP, whatever
// it says. TransportAuto is Xet, and plain HTTP where Xet fails; TransportXet is Xet alone: where it
// fails, its error is the call's. The empty Transport means what XET_FFI_TRANSPORT says, in the same
// words; where that is unset, TransportHTTP if HF_HUB_DISABLE_XET is set, and else TransportAuto.
type Transport string

// transport returns a transport's number.
func (a *arena) transport(t Transport) C.uint32_t {
	number, known := t.native()
	if !known {
		a.refuse("transport", fmt.Sprintf("must be one of %s, not %q", transportNames, string(t)))
	}
	return number
}

// Deadlines says how long the requests of one call may take, where not as long as those of its
// client: 0 means the client's value. The fields are those of Config. For the call as a whole, use the
// context.
type Deadlines struct {
	ConnectTimeout   time.Duration
	FirstByteTimeout time.Duration
	ReadTimeout      time.Duration
	MinSpeed         int
}

// WithDeadlines gives a call deadlines of its own.
func WithDeadlines(deadlines Deadlines) interface {
	Option
	CacheOption
	HashOption
} {
	return option(func(r *request) { r.deadlines = deadlines })
}

// deadlines returns a C copy; NULL if there is nothing to say.
func (a *arena) deadlines(d Deadlines) *C.XetDeadlines {
	if d == (Deadlines{}) {
		return nil
	}
	native := (*C.XetDeadlines)(C.malloc(C.sizeof_XetDeadlines)) // panics rather than return NULL
	a.keep(unsafe.Pointer(native))
	*native = C.XetDeadlines{
		struct_size:           C.sizeof_XetDeadlines,
		connect_timeout_ms:    a.milliseconds("connect_timeout", d.ConnectTimeout),
		first_byte_timeout_ms: a.milliseconds("first_byte_timeout", d.FirstByteTimeout),
		read_timeout_ms:       a.milliseconds("read_timeout", d.ReadTimeout),
		min_speed:             a.count("min_speed", d.MinSpeed),
	}
	return native
}
