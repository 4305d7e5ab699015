//! What the structs of the library's point at: arrays and strings that live as long as they do.

use std::ffi::{CString, c_char};
use std::ptr::{null, null_mut};

use super::ptr;

/// An array of structs of `xet.h`.
pub(crate) struct List<T> {
    items: Vec<T>,
    pointers: Vec<*const T>,
}

impl<T> List<T> {
    /// The array as C walks it: pointers, so that the struct can grow without moving its neighbours for
    /// older callers. NULL if there are none.
    pub(crate) fn pointers(&self) -> *const *const T {
        if self.pointers.is_empty() { null() } else { self.pointers.as_ptr() }
    }

    /// The structs themselves, side by side: for one that never grows.
    pub(crate) fn structs(&mut self) -> *mut T {
        if self.items.is_empty() { null_mut() } else { self.items.as_mut_ptr() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
}

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items = Vec::from_iter(items);
        // Their addresses stay when the vector moves, which is never added to.
        let pointers = items.iter().map(std::ptr::from_ref).collect();
        Self { items, pointers }
    }
}

/// Strings for C.
#[derive(Default)]
pub(crate) struct Texts(Vec<CString>);

impl Texts {
    /// Keeps a copy of `text`, whose address doesn't change when more are kept.
    pub(crate) fn keep(&mut self, text: &str) -> *const c_char {
        let text = ptr::c_string(text);
        let pointer = text.as_ptr();
        self.0.push(text);
        pointer
    }

    /// The same; NULL for `None`.
    pub(crate) fn keep_optional(&mut self, text: Option<&str>) -> *const c_char {
        text.map_or(null(), |text| self.keep(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The array has the structs in their order, and an empty one is NULL.
    #[test]
    fn arrays_are_null_or_lead_to_the_structs() {
        let mut list: List<u32> = [7, 8].into_iter().collect();
        let moved = std::mem::replace(&mut list, std::iter::empty().collect());
        // SAFETY: the array has two pointers to structs of `moved`, which is alive.
        let read = unsafe { [**moved.pointers(), **moved.pointers().add(1)] };
        assert_eq!((read, moved.len()), ([7, 8], 2));
        assert!(list.pointers().is_null() && list.structs().is_null());
    }

    /// Strings stay where they are while others are added.
    #[test]
    fn kept_strings_stay() {
        let mut texts = Texts::default();
        let first = texts.keep("first");
        for _ in 0..100 {
            texts.keep("more");
        }
        assert!(texts.keep_optional(None).is_null());
        // SAFETY: `texts` is alive.
        assert_eq!(unsafe { ptr::text(first, "first") }.unwrap().as_deref(), Some("first"));
    }
}
