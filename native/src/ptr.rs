//! Every raw pointer that crosses the boundary is converted here: strings and arrays in, objects
//! out, handles both ways. The types say who owns what.

use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::Arc;

use xet_ffi_core::config::Environment;
use xet_ffi_core::model::error::{Error, Result};

/// Longest string that is accepted, in bytes. Paths, URLs and tokens of real systems are far
/// shorter; without a bound, a missing NUL would be read until something gives.
pub(crate) const MAX_TEXT: usize = 32 * 1024;

/// Most elements that an array of strings may have.
pub(crate) const MAX_TEXTS: usize = 100_000;

/// Copies a string; NULL is `None`.
///
/// # Safety
/// `pointer` is NULL or points at a NUL-terminated string.
pub(crate) unsafe fn text(pointer: *const c_char, field: &str) -> Result<Option<String>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so a NUL-terminated string; strnlen reads no further than its NUL, nor than
    // the bound.
    let length = unsafe { libc::strnlen(pointer, MAX_TEXT + 1) };
    if length > MAX_TEXT {
        return Err(Error::invalid(field, format!("is longer than {MAX_TEXT} bytes")));
    }
    // SAFETY: strnlen has just found `length` bytes there, none of which is NUL.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), length) };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(bad) => {
            Err(Error::invalid(field, format!("is not valid UTF-8 at byte {}", bad.valid_up_to())))
        }
    }
}

/// Copies a string that must be there.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn required_text(pointer: *const c_char, field: &str) -> Result<String> {
    // SAFETY: the caller's promise is the same.
    unsafe { text(pointer, field) }?.ok_or_else(|| is_null(field))
}

/// Copies a string of which both NULL and "" mean "default", that is `None`.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional_text(pointer: *const c_char, field: &str) -> Result<Option<String>> {
    // SAFETY: the caller's promise is the same.
    Ok(unsafe { text(pointer, field) }?.filter(|text| !text.is_empty()))
}

/// Copies a path, of which a leading `~` is the user's home folder, as `huggingface_hub` has it; NULL and
/// "" are `None`.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional_path(pointer: *const c_char, field: &str) -> Result<Option<PathBuf>> {
    // SAFETY: the caller's promise is the same.
    let text = unsafe { optional_text(pointer, field) }?;
    text.map(|text| Environment::process().user_path(field, &text)).transpose()
}

/// Copies at most `most` bytes of a string that is only shown, whatever is in it; NULL is `None`.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn lossy_text(pointer: *const c_char, most: usize) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not NULL, so a NUL-terminated string; strnlen reads no further than its NUL, nor than
    // the bound, and what it has read is there.
    let bytes = unsafe {
        let length = libc::strnlen(pointer, most);
        std::slice::from_raw_parts(pointer.cast::<u8>(), length)
    };
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// Copies an array of strings; NULL is `None`, which isn't the same as an array of length 0.
///
/// # Safety
/// `array` is NULL or points at `length` pointers, each of which is as for [`text`].
pub(crate) unsafe fn texts(
    array: *const *const c_char,
    length: usize,
    field: &str,
) -> Result<Option<Vec<String>>> {
    if array.is_null() {
        if length == 0 {
            return Ok(None);
        }
        return Err(Error::invalid(field, format!("is NULL, but {field}_len is {length}")));
    }
    if length > MAX_TEXTS {
        let problem = format!("is {length}, but at most {MAX_TEXTS} are allowed");
        return Err(Error::invalid(format!("{field}_len"), problem));
    }
    let copy = |index| {
        // SAFETY: the caller promises `length` elements, and `index` is less; each is NULL or a
        // string.
        unsafe { required_text(array.add(index).read(), &format!("{field}[{index}]")) }
    };
    (0..length).map(copy).collect::<Result<_>>().map(Some)
}

fn is_null(field: &str) -> Error {
    Error::invalid(field, "is NULL, but a value is required")
}

/// Where a result goes. It is written at most once, on success.
pub(crate) struct Out<T>(NonNull<*mut T>);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL or may be written to until the entry point returns.
    pub(crate) unsafe fn new(pointer: *mut *mut T, field: &str) -> Result<Self> {
        NonNull::new(pointer).map(Self).ok_or_else(|| is_null(field))
    }

    /// Hands `value` to the caller.
    pub(crate) fn write(self, value: *mut T) {
        // SAFETY: not NULL, and writable by the promise made to `new`.
        unsafe { self.0.as_ptr().write(value) }
    }
}

/// Where a number goes, on success only.
pub(crate) struct OutNumber(NonNull<u64>);

impl OutNumber {
    /// # Safety
    /// `pointer` is NULL, or valid for writing until this is gone.
    pub(crate) unsafe fn new(pointer: *mut u64, field: &str) -> Result<Self> {
        NonNull::new(pointer).map(Self).ok_or_else(|| is_null(field))
    }

    pub(crate) fn write(self, value: u64) {
        // SAFETY: not NULL, and writable by the promise made to `new`.
        unsafe { self.0.as_ptr().write(value) }
    }
}

/// A struct of `xet.h` that the library gives to the caller, who owns it from then on and gives it
/// back to be released. The type of what it points at belongs to it, so neither can be mistaken.
pub(crate) trait Given: Sized {
    /// What its pointers point at: heap memory, which doesn't move when its owner does.
    type Storage;

    /// Gives both to the caller, who owes a [`take`].
    fn give(self, storage: Self::Storage) -> *mut Self {
        Box::into_raw(Box::new(Owned { public: self, _storage: storage })).cast()
    }
}

/// Both in one allocation: the caller sees the first field, and taking that pointer frees everything.
#[repr(C)]
struct Owned<T: Given> {
    public: T,
    _storage: T::Storage,
}

/// Takes back what was [given](Given::give), and drops it. NULL is fine.
///
/// # Safety
/// `pointer` is NULL or came from `give`, and isn't used again.
pub(crate) unsafe fn take<T: Given>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: `give` made it from a box of that type, whose first field, at offset 0, is the
        // public struct.
        drop(unsafe { Box::from_raw(pointer.cast::<Owned<T>>()) });
    }
}

/// A C string with `text`. A NUL inside it, which C can't express, becomes U+FFFD.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        let printable: String = text.replace('\0', "\u{fffd}");
        CString::new(printable).unwrap_or_default()
    })
}

/// Gives a string to the caller, who owes a [`take_string`].
pub(crate) fn give_string(text: &str) -> *mut c_char {
    c_string(text).into_raw()
}

/// Takes back what [`give_string`] gave, and drops it. NULL is fine.
///
/// # Safety
/// `pointer` is NULL or came from `give_string`, and isn't used again.
pub(crate) unsafe fn take_string(pointer: *mut c_char) {
    if !pointer.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { CString::from_raw(pointer) });
    }
}

/// NULL for `None`.
pub(crate) fn optional_pointer(text: Option<&CStr>) -> *const c_char {
    text.map_or(std::ptr::null(), CStr::as_ptr)
}

/// What the caller holds a handle to, while calls hold shares of it.
pub(crate) trait Shared {}

/// Gives a handle to the caller, who owes a [`release_handle`].
pub(crate) fn give_handle<T: Shared>(object: T) -> *mut T {
    Arc::into_raw(Arc::new(object)).cast_mut()
}

/// A share of the caller's object, so that it lives until the call is over, whoever frees the
/// handle meanwhile.
///
/// # Safety
/// `handle` is NULL or came from [`give_handle`] and hasn't been released.
pub(crate) unsafe fn share_handle<T: Shared>(handle: *const T, field: &str) -> Result<Arc<T>> {
    if handle.is_null() {
        return Err(is_null(field));
    }
    // SAFETY: it came from Arc::into_raw, and the caller's own share, which is not released before
    // this function returns, keeps the count above 0.
    unsafe {
        Arc::increment_strong_count(handle);
        Ok(Arc::from_raw(handle))
    }
}

/// Drops the caller's share. NULL is fine.
///
/// # Safety
/// `handle` is NULL or came from [`give_handle`], and isn't used again to begin a call.
pub(crate) unsafe fn release_handle<T: Shared>(handle: *const T) {
    if !handle.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Arc::from_raw(handle) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A NUL in a text of ours is replaced; the rest is kept.
    #[test]
    fn nul_is_replaced_and_nothing_is_lost() {
        assert_eq!(c_string("a\0b").as_c_str(), c"a\u{fffd}b");
    }

    /// The longest string is accepted, one byte more is not, and the error names the field.
    #[test]
    fn strings_are_bounded() {
        let longest = c_string(&"x".repeat(MAX_TEXT));
        let too_long = c_string(&"x".repeat(MAX_TEXT + 1));
        // SAFETY: both are C strings.
        let (longest, too_long) =
            unsafe { (text(longest.as_ptr(), "f"), text(too_long.as_ptr(), "f")) };
        assert_eq!(longest.unwrap().map(|t| t.len()), Some(MAX_TEXT));
        assert_eq!(too_long.unwrap_err().context().field.as_deref(), Some("f"));
    }

    /// No array means something else than an empty one; an element that is NULL is named by its
    /// index.
    #[test]
    fn arrays_tell_missing_from_empty() {
        let element = c"x";
        let array = [element.as_ptr(), std::ptr::null()];
        // SAFETY: the lengths are those of the array, or less.
        unsafe {
            assert_eq!(texts(std::ptr::null(), 0, "f").unwrap(), None);
            assert_eq!(texts(array.as_ptr(), 0, "f").unwrap(), Some(vec![]));
            assert_eq!(texts(array.as_ptr(), 1, "f").unwrap(), Some(vec!["x".into()]));
            let error = texts(array.as_ptr(), 2, "f").unwrap_err();
            assert_eq!(error.context().field.as_deref(), Some("f[1]"));
        }
    }

    /// Stands for a struct of `xet.h`, and for what a client is.
    struct Example(Arc<()>);

    impl Given for Example {
        type Storage = Arc<()>;
    }

    impl Shared for Example {}

    /// What is given is freed by taking its public part.
    #[test]
    fn storage_lives_and_dies_with_its_public_part() {
        let witness = Arc::new(());
        let pointer = Example(Arc::clone(&witness)).give(Arc::clone(&witness));
        assert_eq!(Arc::strong_count(&witness), 3);
        // SAFETY: `give` made it, and the struct that the caller sees comes first.
        unsafe {
            assert!(Arc::ptr_eq(&(*pointer).0, &witness));
            take(pointer);
        }
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    /// An object that is freed during a call lives until the call is over.
    #[test]
    fn a_released_handle_lives_as_long_as_its_shares() {
        let witness = Arc::new(());
        let handle = give_handle(Example(Arc::clone(&witness)));
        // SAFETY: `give_handle` made it; it is released once, and not shared afterwards.
        let share = unsafe {
            let share = share_handle(handle, "client").unwrap();
            release_handle(handle);
            share
        };
        assert_eq!(Arc::strong_count(&witness), 2);
        drop(share);
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}
