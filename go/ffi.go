package xet

/*
#cgo xet_system pkg-config: xet
#cgo xet_static pkg-config: xet-static
#cgo xet_static CFLAGS: -DXET_STATIC
#include "callbacks.h"
*/
import "C"

// How Go and the library share memory and time; the other files rely on what stands here.
//
// Linking. By default programs hold libxet.a, which a module for each platform brings (lib/), and need
// nothing else to build or to run. With the build tag xet_system they load libxet.so, found through
// pkg-config's xet.pc; with xet_static they hold the libxet.a that xet-static.pc names. (The macro
// XET_STATIC is there because Go's build cache looks at flags, but not at what pkg-config says: without it,
// a package built for one way of linking would be taken for the other.) The header is a copy of the
// repository's xet.h, since modules can't hold links; `make faces` writes it, and a test compares.
//
// Versions. A header older than this package stops the compiler: see callbacks.h, which all files
// include. A program that finds a library older than its header gets an error with both numbers
// from the first function it calls; a newer one has all that is needed. A program that finds no
// library isn't even started: the system's loader says so, and names libxet.so.
//
// Go memory in C. Strings and arrays are copied to C memory, which an arena frees when the call is
// over. Option structs are Go values that hold only such C pointers, so cgo may pass them. The bytes of
// AddBytes are Go memory, pinned while C may read them: until the call is over, or the group is freed. So are
// the buffers of File.ReadRanges, into which C writes while the call lasts. A call's
// Go state crosses as a cgo.Handle, a number, and as a uintptr_t: Go's garbage collector must never
// find it in a pointer.
//
// C memory in Go. What the library returns is copied into Go values and freed before the function
// that got it returns, on every path, panics included. So no Go value owns C memory, except what has a
// handle: Client, Storage, Group, ContentReader and File.
//
// Handles. A handle has the pointer of a client, say, and counts the calls inside. Close, or the garbage
// collector's cleanup of a forgotten Client, only marks the handle; whoever leaves last frees. So
// Close never waits, is safe at any time, also in a callback, and no call can begin on a freed
// client. The count also stands in for runtime.KeepAlive: while a call runs, nothing is freed,
// whether or not the Client can still be reached. Closing a group or a reader of content also ends the
// calls inside, as what they wait for is given up. So does closing a File, whose reads find the handle closed
// when they ask whether to go on; hence reads keep their File from the garbage collector.
//
// Callbacks. The library calls back on the thread that made the call, hence on the caller's
// goroutine. A panic must not unwind through C: it is caught in the callback, the cancel callback
// answers true from then on, and it is raised again when the library has returned.
//
// Readers. The bytes of an upload are asked for by such a callback, too, but a Read may block, and
// then nothing else of the call would be seen to. So Read runs on a goroutine of its own, into memory
// of Go, and the callback waits for it no longer than the call may be left alone: see stream.go. A
// TokenFunc runs so, too (tokens.go); its cgo.Handle lives until the storage and all that was begun with
// it is freed. What Uploads.AddReader reads is written to the group by the goroutine itself (readers.go).
//
// With the build tag xet_debug, each call begins and ends with a garbage collection, callbacks too,
// and what lives in C or in a cgo.Handle is counted; the tests demand that the count returns to 0.
