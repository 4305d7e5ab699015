module pair

go 1.24.0

require (
	github.com/mattn/go-sqlite3 v1.14.22
	github.com/xet-ffi/xet-ffi/go v0.1.0
)

require (
	github.com/xet-ffi/xet-ffi/go/lib/linux-amd64 v0.1.0 // indirect
	github.com/xet-ffi/xet-ffi/go/lib/linux-arm64 v0.1.0 // indirect
)

replace github.com/xet-ffi/xet-ffi/go => ../../../go

replace github.com/xet-ffi/xet-ffi/go/lib/linux-amd64 => ../../../go/lib/linux-amd64

replace github.com/xet-ffi/xet-ffi/go/lib/linux-arm64 => ../../../go/lib/linux-arm64
