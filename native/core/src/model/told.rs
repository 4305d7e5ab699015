//! Targets of those events that a face has words of its own for: troubles that pass by themselves, and what a
//! result says as well. `xet.h` names them. Others have the module that they come from.

/// A stream was silent for too long, and another connection is tried.
pub const STALLED: &str = "xet_ffi_core::told::stalled";

/// A stream broke, and is taken up where it ended.
pub const BROKE: &str = "xet_ffi_core::told::broke";

/// A request has failed, and is made again.
pub const RETRIED: &str = "xet_ffi_core::told::retried";

/// Somebody else downloads a file, and that is waited for.
pub const WAITING: &str = "xet_ffi_core::told::waiting";

/// No file fits the patterns.
pub const NONE_FITS: &str = "xet_ffi_core::told::none_fits";

/// A finding of a look at the cache, which its report has, too.
pub const FINDING: &str = "xet_ffi_core::told::finding";
