// A Go service of the kind that the base interface was made for: its own cgo declarations, and no
// word of what came later. It does what base_client.c does, and prints the same.
package main

/*
#cgo pkg-config: base
#include <stdlib.h>
#include "base_abi.h"

void goProgress(XetProgressUpdate *update, void *number);
bool goCancelled(void *number);

static void on_progress(const XetProgressUpdate *update, void *number) {
    goProgress((XetProgressUpdate *)update, number);
}
static XetError *watch(XetClient *client, void *number, uint32_t throttle_ms) {
    return xet_client_set_progress_callback(client, on_progress, number, throttle_ms);
}
static XetError *look_away(XetClient *client) {
    return xet_client_set_progress_callback(client, NULL, NULL, 0);
}
static XetCancellationToken token(void *number) {
    return (XetCancellationToken){goCancelled, number};
}
*/
import "C"

import (
	"fmt"
	"os"
	"runtime/cgo"
	"unsafe"
)

// call is what the callbacks of a call have seen.
type call struct {
	// onBytes ends the call when the file's bytes have begun to come.
	onBytes        bool
	updates, asked int
	last           C.XetProgressUpdate
}

//export goProgress
func goProgress(update *C.XetProgressUpdate, number unsafe.Pointer) {
	c := (*(*cgo.Handle)(number)).Value().(*call)
	if update.completed_bytes < c.last.completed_bytes {
		fail("numbers never shrink within one call")
	}
	c.updates++
	c.last = *update
}

//export goCancelled
func goCancelled(number unsafe.Pointer) C.bool {
	c := (*(*cgo.Handle)(number)).Value().(*call)
	c.asked++
	return C.bool(c.onBytes && c.last.completed_bytes > 0)
}

func fail(promise string) {
	fmt.Printf("broken\t%s\n", promise)
	os.Exit(1)
}

// text is a C string that lives as long as the program; "-" is NULL.
func text(argument string) *C.char {
	if argument == "-" {
		return nil
	}
	return C.CString(argument)
}

// failed prints and frees an error, if there is one.
func failed(err *C.XetError) bool {
	if err == nil {
		return false
	}
	fmt.Printf("error\t%d\t%s\t%s\n", err.code, C.GoString(err.message), C.GoString(err.details))
	C.xet_free_error(err)
	return true
}

func list(client *C.XetClient, arguments []string) {
	var files *C.XetFileList
	if failed(C.xet_list_files(client, text(arguments[0]), text(arguments[1]), &files)) {
		if files != nil {
			fail("outputs are written on success only")
		}
		return
	}
	for _, file := range unsafe.Slice(files.files, files.count) {
		fmt.Printf("entry\t%s\t%s\t%d\n", C.GoString(file.path), C.GoString(file.hash), file.size)
	}
	C.xet_free_file_list(files)
}

// watched makes a call with both callbacks.
func watched(
	client *C.XetClient, c *call, throttle int,
	download func(*C.XetCancellationToken, **C.char) *C.XetError,
) {
	// The library keeps the address, so it must not be Go's.
	number := (*cgo.Handle)(C.malloc(C.size_t(unsafe.Sizeof(cgo.Handle(0)))))
	defer C.free(unsafe.Pointer(number))
	*number = cgo.NewHandle(c)
	defer number.Delete()
	if failed(C.watch(client, unsafe.Pointer(number), C.uint32_t(throttle))) {
		return
	}
	token := C.token(unsafe.Pointer(number))
	var path *C.char
	if failed(download(&token, &path)) {
		if path != nil {
			fail("outputs are written on success only")
		}
		return
	}
	reported := 0
	if c.updates > 0 {
		reported = 1
	}
	fmt.Printf("progress\t%d\t%d\t%d\t%d\t%d\t%d\n", reported, c.last.phase, c.last.completed_bytes,
		c.last.total_bytes, c.last.completed_files, c.last.total_files)
	fmt.Printf("path\t%s\n", C.GoString(path))
	C.xet_free_string(path)
}

func file(client *C.XetClient, arguments []string, c *call, throttle int) {
	request := C.XetDownloadRequest{
		repo_id: text(arguments[0]), repo_type: text(arguments[1]), revision: text(arguments[2]),
		filename: text(arguments[3]), local_dir: text(arguments[4]),
	}
	watched(client, c, throttle, func(token *C.XetCancellationToken, path **C.char) *C.XetError {
		return C.xet_download_file(client, &request, token, path)
	})
}

func snapshot(client *C.XetClient, arguments []string) {
	repo, kind := text(arguments[0]), text(arguments[1])
	revision, folder := text(arguments[2]), text(arguments[3])
	c := &call{}
	watched(client, c, 50, func(token *C.XetCancellationToken, path **C.char) *C.XetError {
		return C.xet_download_snapshot(client, repo, kind, revision, folder, token, path)
	})
	updates := c.updates
	var path *C.char
	if failed(C.look_away(client)) ||
		failed(C.xet_download_snapshot(client, repo, kind, revision, folder, nil, &path)) {
		return
	}
	fmt.Printf("again\t%s\n", C.GoString(path))
	C.xet_free_string(path)
	if c.updates != updates {
		fail("a NULL callback turns progress off")
	}
}

func main() {
	C.xet_version_1_0_0()
	config := C.XetConfig{
		endpoint: text(os.Args[1]), token: text(os.Args[2]), cache_dir: text(os.Args[3]),
		enable_dedup: true,
	}
	client := C.xet_client_new(&config)
	if client == nil {
		fmt.Println("no client")
		return
	}
	defer C.xet_client_free(client)
	rest := os.Args[5:]
	switch os.Args[4] {
	case "list":
		list(client, rest)
	case "file":
		file(client, rest, &call{}, 50)
	case "snapshot":
		snapshot(client, rest)
	case "cancel":
		c := &call{onBytes: true}
		file(client, []string{rest[0], "-", "-", rest[1], "-"}, c, 1)
		asked := 0
		if c.asked > 0 {
			asked = 1
		}
		fmt.Printf("asked\t%d\n", asked)
	}
}
