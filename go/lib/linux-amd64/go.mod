module github.com/xet-ffi/xet-ffi/go/lib/linux-amd64

go 1.24.0
