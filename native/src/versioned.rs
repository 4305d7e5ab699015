//! Structs that the caller fills and that begin with `struct_size`: the size tells which fields the
//! caller's header knew.
//!
//! A later version may only append fields, and not inside what was padding at the end: an older
//! caller's `sizeof` includes it. Nor may there be padding between or behind fields that are
//! appended, because an older library wants to see nothing but zero there.

use std::mem::MaybeUninit;

use super::layout::Layout;
use super::version::XET_ABI_VERSION;
use xet_ffi_core::model::error::{Error, Result};

/// The most that a struct may have, so that a size that was never set isn't believed.
const LARGEST: usize = 4096;

/// What the fields have at least.
const SMALLEST_FIELD: usize = 4;

/// A struct that the caller fills, made by `c_struct!`.
///
/// # Safety
/// The first field is `struct_size: u32`, and all-zero bytes are a valid value.
pub(crate) unsafe trait Versioned: Layout + Copy {
    /// The versions of the interface that gave it another size, and these sizes.
    const SIZES: &[(u32, usize)];
    /// A struct that has grown has to say so.
    const CURRENT: () = {
        let (_, size) = Self::SIZES[Self::SIZES.len() - 1];
        assert!(size == Self::LAYOUT.size, "the last version isn't the struct");
    };
}

/// A field of which all-zero bytes are a valid value: it means "default".
///
/// # Safety
/// They are.
pub(crate) unsafe trait MayBeZero {}

// SAFETY: zero is a number.
unsafe impl MayBeZero for u32 {}
// SAFETY: as above.
unsafe impl MayBeZero for u64 {}
// SAFETY: as above.
unsafe impl MayBeZero for usize {}
// SAFETY: NULL is a pointer.
unsafe impl<T> MayBeZero for *const T {}
// SAFETY: as above.
unsafe impl<T> MayBeZero for *mut T {}
// SAFETY: for functions, `None` is NULL; no other types stand in an Option in our structs.
unsafe impl<A, R> MayBeZero for Option<unsafe extern "C" fn(A, *mut std::ffi::c_void) -> R> {}
// SAFETY: as above.
unsafe impl<R> MayBeZero for Option<unsafe extern "C" fn(*mut std::ffi::c_void) -> R> {}
// SAFETY: as above.
unsafe impl MayBeZero for Option<super::uploading::streams::XetReadCallback> {}

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
    // SAFETY: the caller's promise is the same.
    let size = unsafe { known_size(pointer, size, name) }?;
    let mut copy = MaybeUninit::<T>::zeroed();
    let () = T::CURRENT;
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

/// How much of the caller's struct is to be copied.
///
/// # Safety
/// `pointer` is readable for `size` bytes, unless that is more than [`LARGEST`].
unsafe fn known_size<T: Versioned>(pointer: *const T, size: usize, name: &str) -> Result<usize> {
    let layout = T::LAYOUT;
    if T::SIZES.iter().any(|&(_, published)| published == size) {
        return Ok(size);
    }
    if size <= layout.size || size > LARGEST || !size.is_multiple_of(layout.align) {
        let problem = format!(
            "is {size}, which no version of {0} has; make it with XET_INIT({0})",
            layout.name
        );
        return Err(Error::invalid(format!("{name}.struct_size"), problem));
    }
    // SAFETY: the caller's promise; the rest begins within the struct.
    let rest = unsafe {
        let rest = pointer.cast::<u8>().add(layout.size);
        std::slice::from_raw_parts(rest, size - layout.size)
    };
    match rest.iter().position(|&byte| byte != 0) {
        None => Ok(layout.size),
        Some(at) => {
            let offset = (layout.size + at) / SMALLEST_FIELD * SMALLEST_FIELD;
            let problem = format!(
                "{} has a field at byte {offset} that is set, and version {XET_ABI_VERSION} of this \
                 library doesn't know it; the program was compiled for a later one",
                layout.name
            );
            Err(Error::invalid(name, problem).with(|c| c.offset = Some(offset)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    c_struct! {
        versions { 2: name, 3: limit }
        struct Example { struct_size: u32, flags: u32, name: *const u8, more: u32, limit: u32, }
    }

    /// As a later header would have it.
    #[repr(C)]
    struct Later {
        known: Example,
        new: [u32; 2],
    }

    fn read_with_size(struct_size: u32, new: [u32; 2]) -> Result<Option<Example>> {
        let known =
            Example { struct_size, flags: 1, name: c"x".as_ptr().cast(), more: 7, limit: 9 };
        let full = Later { known, new };
        // SAFETY: `full` is readable for all sizes up to its own, and larger ones that are accepted
        // aren't tried.
        unsafe { read((&raw const full).cast::<Example>(), "options") }
    }

    /// The sizes of all versions are accepted, and what an older one lacks is zero.
    #[test]
    fn missing_fields_are_zero() {
        let fields = |size| {
            let read = read_with_size(size, [5, 5]).unwrap().unwrap();
            (read.flags, !read.name.is_null(), read.more, read.limit)
        };
        assert_eq!(fields(16), (1, true, 0, 0));
        assert_eq!(fields(24), (1, true, 7, 9));
    }

    /// A size that no version had is refused, that of a pointer too, and the error names the field
    /// and the struct.
    #[test]
    fn other_sizes_are_refused() {
        for size in [0, 1, 3, 4, 5, 7, 8, 12, 15, 17, 19, 20, 23, 25, 28, 31, 4104, u32::MAX] {
            let error = read_with_size(size, [0, 0]).err().unwrap();
            assert_eq!(error.context().field.as_deref(), Some("options.struct_size"));
            assert!(error.message().contains(&format!("is {size},")), "{error}");
            assert!(error.message().contains("XET_INIT(Example)"), "{error}");
        }
    }

    /// A later header's struct is accepted while nothing that this library doesn't know is set; else
    /// the error says where that stands.
    #[test]
    fn a_larger_struct_must_end_in_zero() {
        assert_eq!(read_with_size(32, [0, 0]).unwrap().unwrap().limit, 9);
        for (new, offset) in [([1, 0], 24), ([0, 1], 28), ([1 << 24, 1], 24)] {
            let error = read_with_size(32, new).err().unwrap();
            let context = error.context();
            assert_eq!((context.field.as_deref(), context.offset), (Some("options"), Some(offset)));
            assert!(error.message().contains(&format!("Example has a field at byte {offset}")));
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
