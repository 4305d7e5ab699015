//! Headers that callers add to requests.

use std::ffi::c_char;

use super::ptr;
use xet_ffi_core::config::Header;
use xet_ffi_core::model::error::{Error, Result};

/// Most headers of one list.
const MAX_HEADERS: usize = 1000;

c_struct! {
    struct XetHeader {
        name: *const c_char,
        value: *const c_char,
    }
}

/// Copies headers that the caller knows as `field`.
///
/// # Safety
/// `array` is NULL, or has `length` structs whose strings are as for [`ptr::text`].
pub(crate) unsafe fn headers(
    array: *const XetHeader,
    length: usize,
    field: &str,
) -> Result<Vec<Header>> {
    if array.is_null() && length > 0 {
        return Err(Error::invalid(field, format!("is NULL, but {field}_len is {length}")));
    }
    if length > MAX_HEADERS {
        let problem = format!("is {length}, but at most {MAX_HEADERS} are allowed");
        return Err(Error::invalid(format!("{field}_len"), problem));
    }
    let copy = |index| {
        // SAFETY: the caller promises `length` structs, and `index` is less; its strings likewise.
        unsafe {
            let XetHeader { name, value } = array.add(index).read();
            let name = ptr::required_text(name, &format!("{field}[{index}].name"))?;
            let value = ptr::required_text(value, &format!("{field}[{index}].value"))?;
            Ok((name, value))
        }
    };
    (0..length).map(copy).collect()
}
