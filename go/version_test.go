package xet_test

import (
	"testing"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// The library has at least the interface that the package was compiled with.
func TestABIVersion(t *testing.T) {
	if compiled, library := xet.ABIVersion(); compiled < 1 || library < compiled {
		t.Errorf("compiled with %d, library has %d", compiled, library)
	}
	if xet.Version() == "" {
		t.Error("no version")
	}
}
