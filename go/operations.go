package xet

// #include "callbacks.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"runtime/cgo"
	"unsafe"
)

// Operation is one change of a commit. AddFile, AddBytes, AddReader, Delete, DeleteFolder, Copy and
// CopyFrom make one.
type Operation struct {
	kind                 C.uint32_t
	pathInRepo           string
	localPath            string
	data                 []byte
	reader               io.Reader
	srcPath, srcRevision string
}

// AddFile adds a file of this machine, or replaces what is at its path in the repo.
func AddFile(pathInRepo, localPath string) Operation {
	return Operation{
		kind: C.XET_OPERATION_ADD_PATH, pathInRepo: pathInRepo, localPath: localPath,
	}
}

// AddBytes adds a file with this content, which must not be changed until the call returns.
func AddBytes(pathInRepo string, data []byte) Operation {
	return Operation{kind: C.XET_OPERATION_ADD_BYTES, pathInRepo: pathInRepo, data: data}
}

// AddReader adds a file with what the reader gives, up to its end. It is read once, for all files of a
// commit that have the same reader; its error ends the call, and is what the call's error wraps. More
// than 4 MiB are written to a file below HF_XET_CACHE first.
//
// Its Read runs on a goroutine of its own, and may block: the call ends with its context all the same.
// It isn't waited for then, so the reader may be used again only when that Read has returned. Closing
// a file, a pipe or a connection makes it return.
func AddReader(pathInRepo string, reader io.Reader) Operation {
	return Operation{kind: C.XET_OPERATION_ADD_STREAM, pathInRepo: pathInRepo, reader: reader}
}

// Delete deletes a file, which must be there.
func Delete(pathInRepo string) Operation {
	return Operation{kind: C.XET_OPERATION_DELETE, pathInRepo: pathInRepo}
}

// DeleteFolder deletes a folder and all that is in it.
func DeleteFolder(pathInRepo string) Operation {
	return Operation{kind: C.XET_OPERATION_DELETE_FOLDER, pathInRepo: pathInRepo}
}

// Copy copies a file of the same repo, as it is where the commit goes.
func Copy(srcPath, pathInRepo string) Operation {
	return CopyFrom("", srcPath, pathInRepo)
}

// CopyFrom copies a file of the same repo from a revision.
func CopyFrom(revision, srcPath, pathInRepo string) Operation {
	return Operation{
		kind: C.XET_OPERATION_COPY, pathInRepo: pathInRepo, srcPath: srcPath, srcRevision: revision,
	}
}

// operationArray is an array of operations in C memory. The bytes of AddBytes are Go memory, pinned
// while C may read them; the readers of AddReader cross as numbers.
type operationArray struct {
	pinner  *runtime.Pinner
	streams []*stream
	numbers []cgo.Handle
	// known has the numbers of those readers that can be told from others.
	known map[io.Reader]cgo.Handle
}

func (o *operationArray) fill(
	args *arena, operations []Operation,
) (**C.XetOperation, C.size_t) {
	count := len(operations)
	// One more than needed: a block of size 0 could be NULL.
	pointers := (**C.XetOperation)(args.block(
		uintptr(count+1) * unsafe.Sizeof((*C.XetOperation)(nil)),
	))
	structs := (*C.XetOperation)(args.block(uintptr(count+1) * C.sizeof_XetOperation))
	array := unsafe.Slice(structs, count+1)
	for i, operation := range operations {
		native := &array[i]
		unsafe.Slice(pointers, count+1)[i] = native
		field := func(name string) string { return fmt.Sprintf("operations[%d].%s", i, name) }
		*native = C.XetOperation{
			struct_size:  C.sizeof_XetOperation,
			kind:         operation.kind,
			path_in_repo: args.given(field("path_in_repo"), operation.pathInRepo),
			local_path:   args.text(field("local_path"), operation.localPath),
			src_path:     args.text(field("src_path"), operation.srcPath),
			src_revision: args.text(field("src_revision"), operation.srcRevision),
		}
		switch operation.kind {
		case C.XET_OPERATION_ADD_BYTES:
			if len(operation.data) > 0 {
				o.pinner.Pin(&operation.data[0])
				native.data = unsafe.Pointer(&operation.data[0])
				native.data_len = C.size_t(len(operation.data))
			}
		case C.XET_OPERATION_ADD_STREAM:
			if operation.reader == nil {
				args.refuse(field("reader"), "is nil")
				break
			}
			C.xetgo_read_from(native, C.uintptr_t(o.number(operation.reader)))
		}
	}
	return pointers, C.size_t(count)
}

// number returns the number of a reader's stream. A reader has one: what one stream has read, another
// one would not find.
func (o *operationArray) number(reader io.Reader) cgo.Handle {
	isComparable := reflect.ValueOf(reader).Comparable()
	if isComparable {
		if number, ok := o.known[reader]; ok {
			return number
		}
	}
	reading := &stream{reader: reader}
	number := cgo.NewHandle(reading)
	nativeCreated()
	o.streams, o.numbers = append(o.streams, reading), append(o.numbers, number)
	if isComparable {
		if o.known == nil {
			o.known = make(map[io.Reader]cgo.Handle)
		}
		o.known[reader] = number
	}
	return number
}

// belongTo says which call reads from the streams.
func (o *operationArray) belongTo(c *call) {
	for _, reading := range o.streams {
		reading.call = c
	}
}

// explain returns the error of a call that a reader has ended.
func (o *operationArray) explain(ctx context.Context, repoID string, err error) error {
	cause := failure(o.streams)
	failed, ok := err.(*Error)
	if cause == nil || !ok || failed.Kind != kindReadFailed {
		return err
	}
	// Readers that follow the context break because of it, and may be first to notice its end.
	if reason := ctx.Err(); reason != nil && errors.Is(cause, reason) {
		return contextError(ctx, reason, repoID)
	}
	failed.causes = append(failed.causes, cause)
	return failed
}

func (o *operationArray) free() {
	o.pinner.Unpin()
	for _, reading := range o.streams {
		reading.close()
	}
	for _, number := range o.numbers {
		number.Delete()
		nativeReleased()
	}
}
