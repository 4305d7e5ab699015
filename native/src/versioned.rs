//! Structs that the caller fills and that begin with `struct_size`: the size tells which fields the
//! caller's header knew.
//!
//! A later version may only append fields, and not inside what was padding at the end: an older
//! caller's `sizeof` includes it.

use std::mem::MaybeUninit;

use super::layout::Layout;
use super::version::XET_ABI_VERSION;
use xet_ffi_core::model::error::{Error, Result};

/// A struct that the caller fills.
///
/// # Safety
/// The first field is `struct_size: u32`, and all-zero bytes are a valid value.
pub(crate) unsafe trait Versioned: Layout + Copy {}

/// Copies a struct. NULL is `None`; fields that the caller's header didn't have are zero, which
/// means "default" everywhere.
///
/// # Safety
/// `pointer` is NULL, or aligned and readable for as many bytes as its `struct_size` says, in which
/// every field that is there has a valid value.
pub(crate) unsafe fn read<T: Versioned>(pointer: *const T, name: &str) -> Result<Option<T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL; struct_size comes first, so it is readable before its value is known.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    check_size::<T>(size, name)?;
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: `size` is at most size_of::<T>(), and the caller promises that many readable bytes.
    // The rest of `copy` is zero, which `Versioned` promises to be valid.
    unsafe {
        pointer.cast::<u8>().copy_to_nonoverlapping(copy.as_mut_ptr().cast(), size);
        Ok(Some(copy.assume_init()))
    }
}

/// Copies a struct that must be there.
///
/// # Safety
/// As for [`read`].
pub(crate) unsafe fn read_required<T: Versioned>(pointer: *const T, name: &str) -> Result<T> {
    // SAFETY: the caller's promise is the same.
    unsafe { read(pointer, name) }?
        .ok_or_else(|| Error::invalid(name, "is NULL, but a value is required"))
}

/// A struct whose fields are all "default".
pub(crate) fn default<T: Versioned>() -> T {
    // SAFETY: `Versioned` promises that zero is valid.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Refuses bits that no flag of this version has: they may mean something that this library can't
/// do.
pub(crate) fn check_flags(flags: u32, known: u32, field: &str) -> Result<()> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(Error::invalid(field, format!("has unknown flags {unknown:#x}"))),
    }
}

/// Accepts the size of every version of the struct: up to the end of some field, with or without
/// padding behind it.
fn check_size<T: Versioned>(size: usize, name: &str) -> Result<()> {
    let layout = T::LAYOUT;
    let mut ends = layout.fields.iter().map(|field| field.offset + field.size);
    if ends.any(|end| size == end || size == end.next_multiple_of(layout.align)) {
        return Ok(());
    }
    let problem = if size > layout.size {
        format!(
            "is {size}, but version {XET_ABI_VERSION} of this library knows {} bytes; \
             the program was compiled for a later one",
            layout.size
        )
    } else {
        format!("is {size}, which is not the size of any version of the struct; set it to sizeof")
    };
    Err(Error::invalid(format!("{name}.struct_size"), problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    c_struct! {
        struct Example { struct_size: u32, flags: u32, name: *const u8, limit: u32, }
    }

    // SAFETY: `struct_size` comes first, and integers and pointers may be zero.
    unsafe impl Versioned for Example {}

    fn read_with_size(struct_size: u32) -> Result<Option<Example>> {
        let full = Example { struct_size, flags: 1, name: c"x".as_ptr().cast(), limit: 9 };
        // SAFETY: `full` is readable for all sizes that `read` accepts.
        unsafe { read(&raw const full, "options") }
    }

    /// A smaller struct is accepted where a field ends, and what it lacks is zero.
    #[test]
    fn missing_fields_are_zero() {
        let fields = |size| {
            let read = read_with_size(size).unwrap().unwrap();
            (read.flags, !read.name.is_null(), read.limit)
        };
        assert_eq!(fields(4), (0, false, 0));
        assert_eq!(fields(8), (1, false, 0));
        assert_eq!(fields(16), (1, true, 0));
        assert_eq!(fields(20), (1, true, 9));
        assert_eq!(fields(24), (1, true, 9));
    }

    /// A size that no version has is refused, and the error names the field; a larger one is told
    /// both sizes.
    #[test]
    fn other_sizes_are_refused() {
        for size in [0, 1, 3, 5, 7, 12, 15, 17, 19, 21, 23, 25, 32, u32::MAX] {
            let error = read_with_size(size).err().unwrap();
            assert_eq!(error.context().field.as_deref(), Some("options.struct_size"));
            assert!(error.message().contains(&format!("is {size},")), "{error}");
            assert_eq!(error.message().contains("knows 24 bytes"), size > 24, "{error}");
        }
    }

    /// Unknown flags are named.
    #[test]
    fn unknown_flags_are_refused() {
        assert!(check_flags(3, 3, "options.flags").is_ok());
        let error = check_flags(7, 3, "options.flags").unwrap_err();
        assert_eq!(error.message(), "options.flags: has unknown flags 0x4");
    }
}
