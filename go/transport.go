package xet

// #include "xet.h"
import "C"

import "fmt"

// Transport is which way a client's Xet files come. Git and LFS files come over plain HTTP, whatever
// it says.
type Transport string

// The transports. The empty Transport means what XET_FFI_TRANSPORT says, in the same words; where
// that is unset, TransportHTTP if HF_HUB_DISABLE_XET is set, and else TransportAuto.
const (
	// TransportAuto is Xet, and plain HTTP where Xet fails.
	TransportAuto Transport = "auto"
	// TransportXet is Xet alone: where it fails, its error is the call's.
	TransportXet Transport = "xet"
	// TransportHTTP is plain HTTP.
	TransportHTTP Transport = "http"
)

// transport returns a transport's number.
func (a *arena) transport(t Transport) C.uint32_t {
	switch t {
	case "":
		return C.XET_TRANSPORT_DEFAULT
	case TransportAuto:
		return C.XET_TRANSPORT_AUTO
	case TransportXet:
		return C.XET_TRANSPORT_XET
	case TransportHTTP:
		return C.XET_TRANSPORT_HTTP
	}
	a.refuse("transport", fmt.Sprintf("must be one of auto, xet, http, not %q", string(t)))
	return C.XET_TRANSPORT_DEFAULT
}
