//! What is known of the chunks of a file.

use std::collections::BTreeMap;
use std::ops::Range;

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::constants::{MAX_CHUNK_SIZE, is_stable_chunk_size};

use crate::cas::block::lie;
use crate::model::error::Result;

/// Chunks of a file by where they begin: length and hash.
pub(crate) type Chunks = BTreeMap<u64, (u64, MerkleHash)>;

/// Chunks that the CAS has told, and what follows from them. Nobody's truth before they were seen to
/// add up to the file's hash.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) chunks: Chunks,
    /// How many the file has.
    pub(super) total: Option<u64>,
}

impl Known {
    /// All chunks of a file of `size` bytes, in order: hash and length.
    pub(in crate::cas) fn of_all(all: Vec<(MerkleHash, u64)>, size: u64) -> Result<Self> {
        let (mut chunks, mut at, total) = (Chunks::new(), 0_u64, all.len() as u64);
        for (hash, len) in all {
            chunks.insert(at, (len, hash));
            at = at.saturating_add(len);
        }
        if at != size {
            return Err(lie("chunks of a file of another size"));
        }
        Ok(Self { chunks, total: Some(total) })
    }

    /// The chunks of `range`, which begins and ends where chunks do: hash and length. `None` if not all are known.
    pub(super) fn chunks_of(&self, range: &Range<u64>) -> Option<Vec<(MerkleHash, u64)>> {
        let (mut at, mut chunks) = (range.start, Vec::new());
        while at < range.end {
            let &(len, hash) = self.chunks.get(&at)?;
            chunks.push((hash, len));
            at = at.checked_add(len)?;
        }
        (at == range.end).then_some(chunks)
    }

    /// Adds chunks that follow each other from `at` on.
    pub(super) fn add_all(&mut self, mut at: u64, chunks: &[(MerkleHash, u64)]) {
        for &(hash, len) in chunks {
            self.chunks.insert(at, (len, hash));
            at += len;
        }
    }

    /// What of `range` no chunk is known of, in order.
    pub(super) fn unknown(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut unknown = Vec::new();
        let before = self.chunks.range(..range.start).next_back();
        let mut at = before.map_or(range.start, |(&at, &(len, _))| range.start.max(at + len));
        for (&offset, &(len, _)) in self.chunks.range(range.clone()) {
            if offset > at {
                unknown.push(at..offset);
            }
            at = at.max(offset + len);
        }
        if at < range.end {
            unknown.push(at..range.end);
        }
        unknown
    }

    /// The lengths of all chunks of a file of `size` bytes, in order, with the hashes that are known;
    /// `None` if they don't follow. Where as many chunks are unknown as there are parts that they can
    /// be in, each part is one.
    pub(crate) fn all(&self, size: u64) -> Option<Vec<(u64, Option<MerkleHash>)>> {
        let unknown = self.unknown(&(0..size));
        let count = u64::try_from(self.chunks.len() + unknown.len()).ok()?;
        let fits = |part: &Range<u64>| part.end - part.start <= *MAX_CHUNK_SIZE as u64;
        if self.total != Some(count) || !unknown.iter().all(fits) {
            return None;
        }
        let told = self.chunks.iter().map(|(&at, &(len, hash))| (at, (len, Some(hash))));
        let left = unknown.into_iter().map(|part| (part.start, (part.end - part.start, None)));
        let all: BTreeMap<_, _> = told.chain(left).collect();
        Some(all.into_values().collect())
    }

    /// Where the last window before `at` can be opened that doesn't reach beyond it. A window goes on
    /// until two chunks that follow each other are of usual length.
    pub(super) fn window_before(&self, at: u64) -> Option<u64> {
        let mut next = at;
        let mut usual = 0;
        for (&offset, &(len, _)) in self.chunks.range(..at).rev() {
            if offset + len != next {
                return None;
            }
            if usual == 2 {
                return Some(offset);
            }
            let is_usual = usize::try_from(len).is_ok_and(is_stable_chunk_size);
            usual = if is_usual { usual + 1 } else { 0 };
            next = offset;
        }
        None
    }
}
