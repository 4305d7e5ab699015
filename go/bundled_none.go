//go:build cgo && !xet_system && !xet_static && !(linux && (amd64 || arm64))

package xet

// There is no libxet.a for this platform, and the compiler prints the sentence.
const _ int = "no prebuilt libxet for this platform: install libxet and its pkg-config file, and build with -tags xet_system"
