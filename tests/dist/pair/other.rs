//! Another Rust archive in the same program, as tokenizers' is: with a standard library of its own.
use std::ffi::c_char;

/// Panics and catches it, so that two unwinders have work, and answers with a string that lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn other_rust() -> *const c_char {
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| panic!("on purpose")).is_err();
    if caught { c"unwinds".as_ptr() } else { c"doesn't unwind".as_ptr() }
}
