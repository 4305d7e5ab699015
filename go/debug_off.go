//go:build !xet_debug

package xet

// See debug.go.

func nativeCreated()  {}
func nativeReleased() {}
func stress()         {}
