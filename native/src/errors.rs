//! Section "errors" of `xet.h`.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr::null;

use super::{guard, ptr};
use xet_ffi_core::model::error::Error;

c_struct! {
    struct XetError {
        code: i32,
        message: *mut c_char,
        details: *mut c_char,
    }
}

/// The error's strings.
type Storage = [CString; 2];

impl XetError {
    /// Gives an error to the caller, who owes an [`xet_free_error`].
    pub(crate) fn give(error: &Error) -> *mut Self {
        let storage: Storage = [ptr::c_string(error.message()), ptr::c_string(&error.details())];
        let [message, details] = &storage;
        let public = Self {
            code: error.code() as i32,
            message: message.as_ptr().cast_mut(),
            details: details.as_ptr().cast_mut(),
        };
        ptr::Owned::give(public, storage)
    }
}

/// A [`XetError`] that the library keeps.
struct Kept(*mut XetError);

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it came from XetError::give, and nobody else frees it.
        unsafe { ptr::Owned::<XetError, Storage>::take(self.0) }
    }
}

thread_local! {
    /// What [`xet_last_error`] shows.
    static LAST_ERROR: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Sets or clears what [`xet_last_error`] shows on this thread.
pub(crate) fn set_last(error: Option<&Error>) {
    let kept = error.map(|error| Kept(XetError::give(error)));
    // A thread that is already ending has no last error any more, and nobody who could ask for it.
    let _ = LAST_ERROR.try_with(|last| last.replace(kept));
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_free_error(error: *mut XetError) {
    guard::infallible("xet_free_error", (), || {
        // SAFETY: `xet.h` asks for NULL or an error that the library returned, freed once.
        unsafe { ptr::Owned::<XetError, Storage>::take(error) }
    });
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn xet_last_error() -> *const XetError {
    guard::infallible("xet_last_error", null(), || {
        let last =
            LAST_ERROR.try_with(|last| last.borrow().as_ref().map(|kept| kept.0.cast_const()));
        last.ok().flatten().unwrap_or(null())
    })
}

#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xet_free_string(string: *mut c_char) {
    guard::infallible("xet_free_string", (), || {
        // SAFETY: `xet.h` asks for NULL or a string that the library returned, freed once.
        unsafe { ptr::take_string(string) }
    });
}
