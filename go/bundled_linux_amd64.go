//go:build cgo && !xet_system && !xet_static

package xet

import _ "github.com/xet-ffi/xet-ffi/go/lib/linux-amd64" // libxet.a
