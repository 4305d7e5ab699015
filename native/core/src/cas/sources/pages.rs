//! A whole file to copy, a page of its chunks at a time: all of them together would be large.

use std::sync::Arc;

use super::ThisMachine;
use super::copies::Copy;
use crate::reuse::{LocalCopy, Whole};

/// What is left to copy of a file that has the same content as another one.
pub(crate) struct Pages {
    whole: Whole,
    size: u64,
    /// The next page.
    number: u32,
    /// Where its first chunk is.
    at: u64,
}

impl Pages {
    pub(super) fn new(whole: Whole, size: u64) -> Self {
        Self { whole, size, number: 0, at: 0 }
    }

    /// The file that has it all.
    pub(crate) fn place(&self) -> &Arc<LocalCopy> {
        &self.whole.place
    }

    /// The next page as a copy. `None`: there are no more, or the index is wrong about the file.
    pub(crate) fn next(&mut self, source: &ThisMachine) -> Option<Copy> {
        if self.number == self.whole.pages() {
            return None;
        }
        let run = source.search().page(&self.whole, self.number, self.at)?;
        let copy = Copy { place: run.place, at: self.at, offset: self.at, notes: run.notes };
        self.number += 1;
        self.at = copy.range().end;
        (self.at <= self.size).then_some(copy)
    }
}
