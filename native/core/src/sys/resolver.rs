//! What the system's resolver of names says.

use std::ffi::CStr;

/// Whether a failure to look up a name, in the system's words, is one that passes: no server of names has answered,
/// as before the network is up. A name that nobody has is another failure.
pub(crate) fn is_temporary(failure: &str) -> bool {
    // SAFETY: it takes any number, and returns a text that ends with a zero and is never freed.
    let temporary = unsafe { CStr::from_ptr(libc::gai_strerror(libc::EAI_AGAIN)) };
    temporary.to_str().is_ok_and(|text| !text.is_empty() && failure.ends_with(text))
}
