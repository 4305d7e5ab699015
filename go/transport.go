package xet

// #include "xet.h"
import "C"

import "fmt"

// Transport is which way a client's Xet files come. Git and LFS files come over plain HTTP, whatever
// it says. TransportAuto is Xet, and plain HTTP where Xet fails; TransportXet is Xet alone: where it
// fails, its error is the call's. The empty Transport means what XET_FFI_TRANSPORT says, in the same
// words; where that is unset, TransportHTTP if HF_HUB_DISABLE_XET is set, and else TransportAuto.
type Transport string

// transport returns a transport's number.
func (a *arena) transport(t Transport) C.uint32_t {
	number, known := t.native()
	if !known {
		a.refuse("transport", fmt.Sprintf("must be one of %s, not %q", transportNames, string(t)))
	}
	return number
}
