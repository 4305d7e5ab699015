module github.com/xet-ffi/xet-ffi/go

go 1.24.0

require (
	github.com/xet-ffi/xet-ffi/go/lib/linux-amd64 v0.1.0
	github.com/xet-ffi/xet-ffi/go/lib/linux-arm64 v0.1.0
	go.uber.org/goleak v1.3.0
)

// In this repository they are beside it; who requires this module gets the published ones.
replace (
	github.com/xet-ffi/xet-ffi/go/lib/linux-amd64 => ./lib/linux-amd64
	github.com/xet-ffi/xet-ffi/go/lib/linux-arm64 => ./lib/linux-arm64
)
