//go:build !cgo

package xet

// Without cgo this is all of the package, and the compiler prints the sentence. Go switches cgo off
// by itself where it finds no C compiler, and where it builds for another system.
const _ int = "package xet needs cgo: set CGO_ENABLED=1 and install a C compiler"
