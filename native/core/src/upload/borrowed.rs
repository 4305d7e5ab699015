//! Memory that a caller lends for the time of its call.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

/// Bytes that may be read until their owner wants them back. Clones share that fate.
///
/// A cancelled call returns before its last blocking jobs have ended, so they must not hold a plain
/// reference. They copy out a block at a time instead; taking the memory back waits for one such
/// copy at most.
#[derive(Clone)]
pub struct Borrowed {
    memory: Arc<RwLock<Memory>>,
    length: usize,
}

enum Memory {
    Owned(Bytes),
    Borrowed(*const u8),
    Returned,
}

// SAFETY: the pointer is only read from, under the lock, while its owner promises that the bytes
// stay as they are.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Whoever lends memory holds this; when it is dropped, nobody reads the memory any more.
#[derive(Debug)]
#[must_use = "dropping it takes the memory back"]
pub struct BorrowGuard(Borrowed);

impl Borrowed {
    /// Bytes of our own, which nobody wants back.
    #[must_use]
    pub fn owned(bytes: Bytes) -> Self {
        let length = bytes.len();
        Self { memory: Arc::new(RwLock::new(Memory::Owned(bytes))), length }
    }

    /// Borrows `length` bytes at `start` until the loan is dropped.
    ///
    /// # Safety
    /// The bytes must be readable, and must not change, until the loan is dropped; and the loan
    /// must be dropped.
    pub unsafe fn borrow(start: *const u8, length: usize) -> (Self, BorrowGuard) {
        let memory =
            if length == 0 { Memory::Owned(Bytes::new()) } else { Memory::Borrowed(start) };
        let lent = Self { memory: Arc::new(RwLock::new(memory)), length };
        (lent.clone(), BorrowGuard(lent))
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies up to `most` bytes from `offset`; `None` once they were taken back.
    #[must_use]
    pub fn copy(&self, offset: usize, most: usize) -> Option<Bytes> {
        let end = offset.saturating_add(most).min(self.length);
        let start = offset.min(end);
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        match &*memory {
            Memory::Owned(bytes) => Some(bytes.slice(start..end)),
            Memory::Borrowed(base) => {
                // SAFETY: `start..end` lies within the length that was lent, and the lock keeps the
                // owner from taking the bytes back meanwhile.
                let bytes = unsafe { std::slice::from_raw_parts(base.add(start), end - start) };
                Some(Bytes::copy_from_slice(bytes))
            }
            Memory::Returned => None,
        }
    }
}

impl fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed").field("len", &self.length).finish_non_exhaustive()
    }
}

impl Drop for BorrowGuard {
    fn drop(&mut self) {
        *self.0.memory.write().unwrap_or_else(PoisonError::into_inner) = Memory::Returned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Borrowed memory is read in pieces, and not at all once it was taken back.
    #[test]
    fn memory_is_not_read_after_it_was_taken_back() {
        let bytes = *b"hello";
        // SAFETY: `bytes` outlives the loan.
        let (lent, loan) = unsafe { Borrowed::borrow(bytes.as_ptr(), bytes.len()) };
        assert_eq!(lent.copy(1, 3).as_deref(), Some(&b"ell"[..]));
        assert_eq!(lent.copy(4, 9).as_deref(), Some(&b"o"[..]));
        assert_eq!(lent.copy(9, 9).as_deref(), Some(&b""[..]));
        drop(loan);
        assert_eq!(lent.copy(0, 1), None);
    }
}
