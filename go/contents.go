package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"io"
	"runtime"
	"sync"
	"unsafe"
)

// ContentReader reads some content from Xet storage: Storage.Open opens it. It is an io.ReadCloser.
type ContentReader struct {
	ctx    context.Context
	handle *handle[*C.XetStream]
	tokens *tokens

	// mutex is for one Read at a time.
	mutex sync.Mutex
	// left is what has come and wasn't read yet, in buffer.
	left, buffer []byte
	// err is what ended it, io.EOF included.
	err error
}

// Open opens content to be read, all of it or the bytes from `start` up to `end`; an end of 0, or behind
// the content's, is the content's. `size` is that of the whole content; 0: storage is asked. Nothing is
// asked for before the first Read.
//
// The context is that of all Reads: they return within 100 ms when it is cancelled or its deadline
// passes. Each chunk has been hashed; whether they are those of the content is known at its end: a
// reader of all of it ends with ErrChecksumMismatch instead of io.EOF if they aren't. Parts of a content
// can't be verified so.
func (s *Storage) Open(
	ctx context.Context, hash string, size, start, end int64,
) (*ContentReader, error) {
	if ctx == nil {
		return nil, invalid("ctx", "is nil; use context.Background()")
	}
	var args arena
	defer args.free()
	native := C.XetStreamOptions{
		struct_size: C.sizeof_XetStreamOptions,
		hash:        args.given("hash", hash),
		size:        args.bytes("size", size),
		start:       args.bytes("start", start),
		end:         args.bytes("end", end),
		timeout_ms:  timeout(ctx),
	}
	if args.err != nil {
		return nil, args.err
	}
	var stream *C.XetStream
	tokens, err := s.begin(func(storage *C.XetStorage) *C.XetError {
		return C.xet_storage_open_stream(storage, &native, &stream)
	})
	if err != nil {
		return nil, err
	}
	reader := &ContentReader{ctx: ctx, handle: newHandle(stream), tokens: tokens}
	reader.handle.freed, reader.handle.panics = tokens.leave, tokens.panics()
	runtime.AddCleanup(reader, (*handle[*C.XetStream]).close, reader.handle)
	return reader, nil
}

// begin begins something with the storage, which joins its tokens.
func (s *Storage) begin(function func(*C.XetStorage) *C.XetError) (*tokens, error) {
	if s == nil {
		return nil, closedError("storage")
	}
	err := s.handle.call(func(storage *C.XetStorage) *C.XetError {
		failed := function(storage)
		if failed == nil {
			s.tokens.join() // while the storage, which uses them, can't be freed
		}
		return failed
	})
	return s.tokens, err
}

// Read reads what comes next. One goroutine reads at a time: others wait.
func (r *ContentReader) Read(buffer []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.handle.isClosed() {
		return 0, closedError("stream")
	}
	if len(buffer) == 0 {
		return 0, nil
	}
	for len(r.left) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if n := r.next(buffer); n > 0 {
			return n, nil
		}
	}
	n := copy(buffer, r.left)
	r.left = r.left[n:]
	return n, nil
}

// next gets the next piece: into the buffer, and what has no room there into r.left.
func (r *ContentReader) next(buffer []byte) int {
	var piece *C.XetPiece
	defer func() { C.xet_piece_free(piece) }()
	err := r.handle.run(r.ctx, "", nil, func(stream *C.XetStream, call C.uintptr_t) *C.XetError {
		return C.xetgo_stream_next(stream, call, &piece)
	})
	switch {
	case err != nil:
		r.err = r.tokens.explain(err)
	case piece != nil:
		data := unsafe.Slice((*byte)(piece.data), int(piece.data_len))
		n := copy(buffer, data)
		r.buffer = append(r.buffer[:0], data[n:]...)
		r.left = r.buffer
		return n
	case r.handle.isClosed(): // by Close, which is at the library's end, but not at the content's
		r.err = closedError("stream")
	default:
		r.err = io.EOF
	}
	return 0
}

// Close gives the content up, and ends a Read that is under way. It never waits and always returns
// nil. Closing twice is fine, and so is not closing: the garbage collector does it, too.
func (r *ContentReader) Close() error {
	if r == nil {
		return nil
	}
	return r.handle.end(func(stream *C.XetStream) *C.XetError {
		return C.xet_stream_cancel(stream)
	})
}
