package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"
	"unsafe"
)

// Storage is Xet storage and the right to it: content by its Xet hash, without a repo, for programs
// that know hashes and tokens by themselves. It serves many groups, readers and goroutines at a time.
type Storage struct {
	handle *handle[*C.XetStorage]
	tokens *tokens
}

// StorageOptions says where a storage is, and by which right. At most one of RefreshURL and TokenFunc
// is given.
type StorageOptions struct {
	// Endpoint is the CAS: "https://...", or "local://DIR", a folder that has everything, is made if
	// need be, and needs no token. Default: where RefreshURL says that it is, which is asked at once;
	// without that, http://localhost:8080.
	Endpoint string
	// Token is a token of the CAS, the first one if there is a way to others. It is left out wherever
	// StorageOptions are printed, and so are the values of headers, and RefreshURL's query.
	Token string `json:"-"`
	// TokenExpires is the token's end. The zero Time: it has none.
	TokenExpires time.Time
	// RefreshURL is asked for a token when there is none that is good, by GET; it answers as the Hub's
	// route for Xet tokens does.
	RefreshURL string `json:"-"`
	// RefreshHeaders go to RefreshURL, and to nobody else. They are a http.Header, which is such a map;
	// its package isn't needed otherwise.
	RefreshHeaders map[string][]string `json:"-"`
	// TokenFunc is asked for a token instead.
	TokenFunc TokenFunc `json:"-"`
	// Headers, a http.Header, go to the CAS with each request, and never to where it says that content
	// is.
	Headers map[string][]string `json:"-"`
	// Deadlines are those of all work with the storage, where not those of the client.
	Deadlines Deadlines
}

// String prints the options without secrets.
func (o StorageOptions) String() string {
	return fmt.Sprintf("{Endpoint:%s Token:%s TokenExpires:%v RefreshURL:%s RefreshHeaders:%s "+
		"TokenFunc:%t Headers:%s Deadlines:%+v}",
		o.Endpoint, redacted(o.Token), o.TokenExpires, redacted(o.RefreshURL),
		namesOf(o.RefreshHeaders), o.TokenFunc != nil, namesOf(o.Headers), o.Deadlines)
}

// GoString prints the options without secrets.
func (o StorageOptions) GoString() string { return "xet.StorageOptions" + o.String() }

// LogValue logs the options without secrets.
func (o StorageOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }

// OpenStorage opens a storage. It uses the network only where Endpoint is missing, for which the
// context is; the context's values, but not its end, are also those of TokenFunc's. The client may be
// closed before the storage.
func (c *Client) OpenStorage(ctx context.Context, options StorageOptions) (*Storage, error) {
	var args arena
	defer args.free()
	native := C.XetStorageOptions{
		struct_size:   C.sizeof_XetStorageOptions,
		timeout_ms:    timeout(ctx),
		endpoint:      args.text("endpoint", options.Endpoint),
		token:         args.text("token", options.Token),
		token_expires: args.unix("token_expires", options.TokenExpires),
		refresh_url:   args.text("refresh_url", options.RefreshURL),
		deadlines:     args.deadlines(options.Deadlines),
	}
	native.refresh_headers, native.refresh_headers_len =
		args.headers("refresh_headers", options.RefreshHeaders)
	native.headers, native.headers_len = args.headers("headers", options.Headers)
	if options.TokenFunc != nil && options.RefreshURL != "" {
		args.refuse("refresh_url", "is given, and TokenFunc, too: there can be one of them")
	}
	if args.err != nil {
		return nil, args.err
	}
	tokens := newTokens(ctx, options.TokenFunc)
	var storage *C.XetStorage
	err := c.run(ctx, "", nil, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_open_storage(client, &native, tokens.native(), call, &storage)
	})
	if err != nil {
		tokens.leave()
		return nil, err
	}
	opened := &Storage{newHandle(storage), tokens}
	opened.handle.freed = tokens.leave
	runtime.AddCleanup(opened, (*handle[*C.XetStorage]).close, opened.handle)
	return opened, nil
}

// Close closes the storage. What was begun with it goes on. It never waits and always returns nil.
// Closing twice is fine, and so is not closing: the garbage collector does it, too.
func (s *Storage) Close() error {
	if s != nil {
		s.handle.close()
	}
	return nil
}

// Content is some content by its hash.
type Content struct {
	// Hash is the Xet hash, 64 hex digits.
	Hash string `json:"hash"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// HashFiles finds out what the Xet hashes of files would be, in their order. It sends nothing. When
// the context is cancelled or its deadline passes, it returns within 100 ms.
func (c *Client) HashFiles(
	ctx context.Context, paths []string, options ...HashOption,
) ([]Content, error) {
	request := newRequest(options)
	var args arena
	defer args.free()
	native := C.XetHashOptions{
		struct_size: C.sizeof_XetHashOptions,
		timeout_ms:  timeout(ctx),
		deadlines:   args.deadlines(request.deadlines),
	}
	native.paths, native.paths_len = args.texts("paths", paths)
	interval := args.milliseconds("progress_interval", request.interval)
	if args.err != nil {
		return nil, args.err
	}
	var list *C.XetContentList
	defer func() { C.xet_content_list_free(list) }()
	progress := request.progress
	err := c.run(ctx, "", progress, func(client *C.XetClient, call C.uintptr_t) *C.XetError {
		return C.xetgo_hash_files(client, &native, call, C.bool(progress != nil), interval, &list)
	})
	if err != nil {
		return nil, err
	}
	return newSlice(list.contents, int(list.count), newContent), nil
}

// headers returns a C array, in the order of their names.
func (a *arena) headers(field string, headers map[string][]string) (*C.XetHeader, C.size_t) {
	count := 0
	for _, values := range headers {
		count += len(values)
	}
	if count == 0 {
		return nil, 0
	}
	block := (*C.XetHeader)(a.block(uintptr(count) * C.sizeof_XetHeader))
	array := unsafe.Slice(block, count)[:0]
	for _, name := range sortedNames(headers) {
		for _, value := range headers[name] {
			array = append(array, C.XetHeader{
				name: a.given(field, name), value: a.given(field, value),
			})
		}
	}
	return block, C.size_t(count)
}

// unix returns a time in seconds since 1970; 0, for "never", is the zero Time.
func (a *arena) unix(field string, t time.Time) C.uint64_t {
	if t.IsZero() {
		return 0
	}
	if t.Unix() <= 0 {
		a.refuse(field, "is before 1970")
		return 0
	}
	return C.uint64_t(t.Unix())
}

func sortedNames(headers map[string][]string) []string {
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// namesOf prints headers without their values.
func namesOf(headers map[string][]string) string { return fmt.Sprint(sortedNames(headers)) }
