package xet

// #include "callbacks.h"
import "C"

import (
	"io"
	"runtime"
	"sync"
	"unsafe"
)

// Uploads are files on their way into a storage.
type Uploads struct{ *Group }

// Uploads begins a group of uploads.
func (s *Storage) Uploads() (*Uploads, error) {
	group, err := s.group(C.XET_GROUP_UPLOADS)
	if err != nil {
		return nil, err
	}
	return &Uploads{group}, nil
}

// taskRequest is what the options of a task come to.
type taskRequest struct {
	name, sha256 string
	sha256From   C.uint32_t
}

// WithName is what reports call an upload. Default: its path, or "".
func WithName(name string) TaskOption {
	return option(func(r *request) { r.task.name = name })
}

// WithSHA256 is the SHA-256 that storage keeps beside an upload: 64 hex digits, for which the caller
// vouches. Default: it is computed.
func WithSHA256(digits string) TaskOption {
	return option(func(r *request) {
		r.task.sha256, r.task.sha256From = digits, C.XET_SHA256_GIVEN
	})
}

// WithoutSHA256 has storage keep none beside an upload.
func WithoutSHA256() TaskOption {
	return option(func(r *request) { r.task.sha256, r.task.sha256From = "", C.XET_SHA256_NONE })
}

// AddFile adds a file of this machine, and returns the task.
func (u *Uploads) AddFile(path string, options ...TaskOption) (int64, error) {
	var args arena
	defer args.free()
	if path == "" { // to C, a stream
		args.refuse("path", "is empty")
	}
	native := newUpload(&args, options)
	native.path = args.text("path", path)
	return u.addUpload(&args, &native)
}

// AddBytes adds content, which must not be changed until the group has ended, and returns the task.
func (u *Uploads) AddBytes(data []byte, options ...TaskOption) (int64, error) {
	var args arena
	defer args.free()
	native := newUpload(&args, options)
	if len(data) == 0 { // NULL would be a stream
		data = make([]byte, 1)[:0]
	}
	native.data = u.pins.pin(data)
	native.data_len = C.size_t(len(data))
	return u.addUpload(&args, &native)
}

// AddReader adds what a reader gives, up to its end, and returns the task. The reader is read at once, on
// a goroutine of its own, and may block; many bytes are kept in a nameless file below HF_XET_CACHE.
// Its error is what the task's error wraps. When the group ends before it, its Read isn't waited for:
// it may be used again only when that has returned.
func (u *Uploads) AddReader(reader io.Reader, options ...TaskOption) (int64, error) {
	if reader == nil {
		return 0, invalid("reader", "is nil")
	}
	if err := u.readers.begin(); err != nil {
		return 0, err
	}
	stream, err := u.AddStream(options...)
	if err != nil {
		u.readers.done()
		return 0, err
	}
	go u.readers.read(stream.task, newRequest(options).task.name, reader)
	return stream.task, nil
}

// UploadStream is an upload that is written. It may be used from any goroutine.
type UploadStream struct {
	group *Group
	task  int64
}

// AddStream adds what is written to the stream that it returns.
func (u *Uploads) AddStream(options ...TaskOption) (*UploadStream, error) {
	var args arena
	defer args.free()
	native := newUpload(&args, options)
	task, err := u.addUpload(&args, &native)
	if err != nil {
		return nil, err
	}
	return &UploadStream{u.Group, task}, nil
}

// Task is the number of the upload, for Group.WaitTask and Group.CancelTask.
func (s *UploadStream) Task() int64 { return s.task }

// Write writes the next bytes. They are copied, to a nameless file below HF_XET_CACHE if they are many.
func (s *UploadStream) Write(data []byte) (int, error) {
	return write(s.group.handle, s.task, data)
}

// End says that the stream has all its bytes. One that isn't ended when Group.Wait is called fails.
func (s *UploadStream) End() error { return end(s.group.handle, s.task) }

func write(h *handle[*C.XetGroup], task int64, data []byte) (int, error) {
	err := h.call(func(group *C.XetGroup) *C.XetError {
		bytes := unsafe.Pointer(unsafe.SliceData(data))
		return C.xet_group_write(group, C.uint64_t(task), bytes, C.size_t(len(data)))
	})
	if err != nil {
		return 0, err
	}
	return len(data), nil
}

func end(h *handle[*C.XetGroup], task int64) error {
	return h.call(func(group *C.XetGroup) *C.XetError {
		return C.xet_group_end_stream(group, C.uint64_t(task))
	})
}

// newUpload returns an upload that has no source yet.
func newUpload(args *arena, options []TaskOption) C.XetGroupUpload {
	request := newRequest(options).task
	return C.XetGroupUpload{
		struct_size: C.sizeof_XetGroupUpload,
		sha256_from: request.sha256From,
		sha256:      args.text("sha256", request.sha256),
		name:        args.text("name", request.name),
	}
}

func (u *Uploads) addUpload(args *arena, native *C.XetGroupUpload) (int64, error) {
	return u.add(args, func(group *C.XetGroup, task *C.uint64_t) *C.XetError {
		return C.xet_group_add_upload(group, native, task)
	})
}

// pins hold Go memory that C reads from.
type pins struct {
	mutex  sync.Mutex
	pinner runtime.Pinner
	freed  bool
}

func (p *pins) pin(data []byte) unsafe.Pointer {
	first := unsafe.SliceData(data)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !p.freed { // else the group is, and C gets nothing
		p.pinner.Pin(first)
	}
	return unsafe.Pointer(first)
}

func (p *pins) free() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.pinner.Unpin()
	p.freed = true
}
