//! Section "version" of `xet.h`.

use std::ffi::{CStr, c_char};

/// As in `xet.h`, and to be raised together with it.
pub(crate) const XET_ABI_VERSION: u32 = 12;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("the package version holds a NUL"),
    };

entry! {
    fn xet_abi_version() -> u32 = 0 {
        XET_ABI_VERSION
    }
}

entry! {
    fn xet_version() -> *const c_char = (VERSION.as_ptr()) {
        VERSION.as_ptr()
    }
}
