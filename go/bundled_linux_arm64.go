//go:build cgo && !xet_system && !xet_static

package xet

import _ "github.com/xet-ffi/xet-ffi/go/lib/linux-arm64" // libxet.a
