package xet

// #include "callbacks.h"
import "C"

import (
	"fmt"
	"sync"
)

// Version is the library's release, such as "0.1.0".
func Version() string {
	return C.GoString(C.xet_version())
}

// ABIVersion returns the version of the interface that this package was compiled with, and the one
// that the library has. Any library works whose number is at least the package's.
func ABIVersion() (compiled, library int) {
	return C.XET_ABI_VERSION, int(C.xet_abi_version())
}

var checkABI = sync.OnceValue(func() error {
	compiled, library := ABIVersion()
	if library >= compiled {
		return nil
	}
	return &Error{
		Code: CodeUnknown,
		Message: fmt.Sprintf("libxet %s has ABI version %d, but this program needs %d or later: "+
			"update the library", Version(), library, compiled),
		Details: Details{Kind: "library_too_old"},
	}
})
