//! What an answer of `/v2/file-chunk-hashes` says.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use xet_client::cas_types::{ChunkWindow, HexMerkleHash};
use xet_core_structures::merklehash::{MerkleHash, MerkleHashSubtree, file_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

use super::known::Known;
use crate::cas::block::lie;
use crate::model::error::Result;

/// The answer, as far as it's of use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) total_chunks: u64,
    pub(super) file_size: u64,
    pub(super) windows: Vec<ChunkWindow>,
    /// What is before, between and behind the windows.
    pub(super) hash_ranges: Vec<Option<Subtree>>,
    /// How many bytes it had.
    #[serde(skip)]
    pub(super) weight: u64,
}

/// A [`MerkleHashSubtree`]: on each level some nodes from its left end and some up to its right one; what
/// was between them is folded into the next level. On the first level, nodes are chunks. Its own type, which shows
/// none of that, is made of it once it's seen to be sound.
#[derive(Deserialize, Serialize)]
pub(super) struct Subtree {
    nodes: Vec<Node>,
    pub(super) levels: Vec<(usize, usize)>,
    at_start: bool,
    at_end: bool,
}

/// More levels than the tree of any file has: each has less than half as many nodes as the one below it.
const MOST_LEVELS: usize = 64;

#[derive(Deserialize, Serialize)]
struct Node {
    hash: HexMerkleHash,
    size: u64,
}

impl Answer {
    /// Adds the chunks that it tells of a file of `size` bytes.
    pub(super) fn add_to(&self, known: &mut Known, size: u64) -> Result<()> {
        let wrong = || lie("windows of chunks that aren't in the file");
        let is_window = |window: Range<u64>| window.start < window.end;
        if self.file_size != size
            || self.hash_ranges.len() != self.windows.len() + 1
            || !self.windows().all(is_window)
        {
            return Err(wrong());
        }
        known.total = Some(self.total_chunks);
        let ends = self.windows.iter().map(|window| window.dirty_byte_range[1]);
        let starts = self.windows.iter().map(|window| window.dirty_byte_range[0]);
        let gaps = std::iter::once(0).chain(ends).zip(starts.chain([size]));
        for ((start, end), subtree) in gaps.zip(&self.hash_ranges) {
            if start > end || end > size {
                return Err(wrong());
            }
            if let Some(subtree) = subtree {
                subtree.add_to(known, start, end)?;
            }
        }
        Ok(())
    }
}

impl Answer {
    /// What it tells nothing of, in order.
    pub(super) fn windows(&self) -> impl Iterator<Item = Range<u64>> {
        self.windows.iter().map(|window| window.dirty_byte_range[0]..window.dirty_byte_range[1])
    }

    /// Whether it tells all chunks of a range, or has windows there.
    pub(super) fn is_about(&self, range: &Range<u64>) -> bool {
        let mut told = Known::default();
        let is_sound = self.add_to(&mut told, self.file_size).is_ok();
        let untold = told.unknown(range);
        let is_in_window = |part: &Range<u64>| {
            self.windows().any(|window| window.start <= part.start && part.end <= window.end)
        };
        is_sound && untold.iter().all(is_in_window)
    }

    /// The chunks that it proves to be in the file with this `hash`, which has `size` bytes: those of its windows, as
    /// they are in `known`, and those that it tells. They are proven if all of it together is the Merkle tree that has
    /// this hash: a node of it can't be replaced by another one without changing the hash of the one above it, which
    /// is made of the hashes and lengths of all that are below. `None`: not all chunks of its windows are known, or
    /// they, or it, are none of this file.
    pub(super) fn proves(&self, known: &Known, hash: &MerkleHash, size: u64) -> Option<Known> {
        let mut proven = Known::default();
        self.add_to(&mut proven, size).ok()?;
        let mut parts = Vec::new();
        let mut at = 0;
        let windows = self.windows.iter().map(|window| window.dirty_byte_range);
        let mut gaps = self.hash_ranges.iter();
        for [start, end] in windows.chain([[size, size]]) {
            match gaps.next()? {
                Some(subtree) if start > at => {
                    parts.push(subtree.fold(start - at, (at == 0, start == size))?);
                }
                None if start == at => {}
                _ => return None,
            }
            if start < end {
                let chunks = known.chunks_of(&(start..end))?;
                parts.push(MerkleHashSubtree::from_chunks(start == 0, &chunks, end == size));
                proven.add_all(start, &chunks);
            }
            at = end;
        }
        let whole = MerkleHashSubtree::merge(&parts).ok()?;
        // A node beside the top is none of the tree of which that is the hash.
        if whole.num_nodes() != 1 {
            return None;
        }
        let top = whole.final_hash()?;
        // As `file_hash` makes it of the top of the tree.
        (top.hmac(MerkleHash::default()) == *hash).then_some(proven)
    }
}

/// Whether these are all chunks of the file with this hash.
pub(crate) fn are_all_of(chunks: &[(MerkleHash, u64)], hash: &MerkleHash) -> bool {
    file_hash(chunks) == *hash
}

impl Subtree {
    /// The same for folding it with its neighbours: of `len` bytes, which may be at the start of the file, and at
    /// its end. `None`: it isn't that, or its parts don't fit together.
    fn fold(&self, len: u64, (at_start, at_end): (bool, bool)) -> Option<MerkleHashSubtree> {
        let sides = self.levels.iter().flat_map(|&(left, right)| [left, right]);
        let count = sides.fold(0_usize, usize::saturating_add);
        let sum = self.nodes.iter().fold(0_u64, |sum, node| sum.saturating_add(node.size));
        let is_sound = count == self.nodes.len()
            && self.levels.len() <= MOST_LEVELS
            && (self.at_start, self.at_end) == (at_start, at_end)
            && sum == len;
        if !is_sound {
            return None;
        }
        let json = serde_json::to_string(self).ok()?;
        serde_json::from_str(&json).ok()
    }

    /// Adds the chunks at either end of the subtree, which is of what is from `start` to `end`.
    fn add_to(&self, known: &mut Known, start: u64, end: u64) -> Result<()> {
        let wrong = || lie("a subtree that isn't one");
        let &(left, right) = self.levels.first().unwrap_or(&(0, 0));
        // Those of the left end come first, and those of the right end of the lowest level last.
        let first = self.nodes.get(..left).ok_or_else(wrong)?;
        let last = self.nodes.len().checked_sub(right).filter(|&at| at >= left);
        let last = &self.nodes[last.ok_or_else(wrong)?..];
        if self.nodes.iter().any(|node| node.size == 0) {
            return Err(wrong());
        }
        let mut add = |at: u64, node: &Node| {
            let next = at.checked_add(node.size).filter(|&next| next <= end);
            let next = next.ok_or_else(wrong)?;
            if node.size > *MAX_CHUNK_SIZE as u64 {
                return Err(wrong());
            }
            known.chunks.insert(at, (node.size, MerkleHash::from(&node.hash)));
            Ok(next)
        };
        first.iter().try_fold(start, &mut add)?;
        let len = last.iter().fold(0_u64, |len, node| len.saturating_add(node.size));
        let begins = end.checked_sub(len).filter(|&begins| begins >= start);
        last.iter().try_fold(begins.ok_or_else(wrong)?, &mut add)?;
        Ok(())
    }
}
