// Package linux_amd64 holds libxet.a for Linux on amd64, glibc 2.17 or later. Package xet imports it; there is
// nothing in it to call.
//
// Releases put the archive here (`make dist` builds it). It shows the linker the functions of xet.h
// and no other name, so programs may hold another SQLite, or another archive of Rust, beside it.
package linux_amd64 //nolint:revive // named like its folder

// #cgo LDFLAGS: ${SRCDIR}/libxet.a -lgcc_s -lutil -lrt -lpthread -lm -ldl
import "C"
