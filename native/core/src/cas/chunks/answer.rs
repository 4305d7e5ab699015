//! What an answer of `/v2/file-chunk-hashes` says.

use serde::Deserialize;
use xet_client::cas_types::{ChunkWindow, HexMerkleHash};
use xet_core_structures::merklehash::MerkleHash;
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
}

/// A `MerkleHashSubtree`: on each level some nodes from its left end and some up to its right one; what
/// was between them is folded into the next level. On the first level, nodes are chunks.
#[derive(Deserialize)]
pub(super) struct Subtree {
    nodes: Vec<Node>,
    pub(super) levels: Vec<(usize, usize)>,
}

#[derive(Deserialize)]
struct Node {
    hash: HexMerkleHash,
    size: u64,
}

impl Answer {
    /// Adds the chunks that it tells of a file of `size` bytes.
    pub(super) fn add_to(&self, known: &mut Known, size: u64) -> Result<()> {
        let wrong = || lie("windows of chunks that aren't in the file");
        if self.file_size != size || self.hash_ranges.len() != self.windows.len() + 1 {
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

impl Subtree {
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
