//! Where a part of a file comes from.

use std::ops::Range;

use xet_core_structures::merklehash::MerkleHash;

/// A run of a xorb's chunks at one place of a file: a term of the file's reconstruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) xorb: MerkleHash,
    /// Indices in the xorb; never empty.
    pub(crate) chunks: Range<u32>,
    /// Where the first chunk is in the file.
    pub(crate) offset: u64,
    /// Of all its chunks, uncompressed.
    pub(crate) len: u64,
}

impl Term {
    /// Where the term ends in the file.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// Whether `next` goes on where this one ends, in the file and in the xorb.
    pub(crate) fn is_followed_by(&self, next: &Self) -> bool {
        self.xorb == next.xorb && self.chunks.end == next.chunks.start && self.end() == next.offset
    }
}
