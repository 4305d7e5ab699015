module github.com/xet-ffi/xet-ffi/native/packaging/modzip

go 1.24.0

require golang.org/x/mod v0.24.0
