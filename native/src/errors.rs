//! Section "errors" of `xet.h`.

use std::ffi::c_char;

use super::list::Texts;
use super::ptr::{self, Given};
use xet_ffi_core::model::error::Error;

c_struct! {
    struct XetError {
        code: i32,
        message: *mut c_char,
        details: *mut c_char,
    }
}

impl Given for XetError {
    type Storage = Texts;
}

impl XetError {
    /// Gives an error to the caller, who owes an [`xet_free_error`].
    pub(crate) fn of(error: &Error) -> *mut Self {
        let mut texts = Texts::default();
        let public = Self {
            code: error.code() as i32,
            message: texts.keep(error.message()).cast_mut(),
            details: texts.keep(&error.details()).cast_mut(),
        };
        public.give(texts)
    }
}

release! {
    fn xet_free_error(error: XetError)
}

entry! {
    fn xet_free_string(string: *mut c_char) -> () = () {
        // SAFETY: `xet.h` asks for NULL or a string that the library returned, released once.
        unsafe { ptr::take_string(string) }
    }
}
