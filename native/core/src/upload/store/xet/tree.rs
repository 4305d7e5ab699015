//! The Merkle hash of a file from its chunks, as they come.

use xet_core_structures::merklehash::{ChunkHashList, MerkleHash, MerkleHashSubtree};

use crate::model::error::{Error, Result};

/// The tree above a file's chunks, as far as they have come. What is kept of them doesn't grow with their number.
#[derive(Default)]
pub(super) struct Tree(Option<MerkleHashSubtree>);

impl Tree {
    /// Adds the next chunks; `last`: those with which the file ends.
    pub(super) fn add(&mut self, chunks: &ChunkHashList, last: bool) -> Result<()> {
        let next = MerkleHashSubtree::from_chunks(self.0.is_none(), chunks, last);
        match &mut self.0 {
            None => self.0 = Some(next),
            Some(tree) => tree.merge_into(&next).map_err(Error::internal)?,
        }
        Ok(())
    }

    /// The hash of the whole, once its last chunks were added.
    pub(super) fn hash(&self) -> Result<MerkleHash> {
        let root = self.0.as_ref().and_then(MerkleHashSubtree::final_hash);
        let root = root.ok_or_else(|| Error::internal("a file's last part is missing"))?;
        // As `file_hash` does it.
        Ok(root.hmac(MerkleHash::default()))
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::{compute_data_hash, file_hash};

    use super::*;

    /// The hash that comes of the parts is the file's, and what is kept of their chunks doesn't grow
    /// with their number: a terabyte of them leaves hundreds of nodes.
    #[test]
    fn the_hash_is_that_of_the_whole() {
        let chunk = |n: u64| (compute_data_hash(&n.to_le_bytes()), 65_536 + n % 7);
        for count in [1_u64, 2, 5, 1000, 4097] {
            let all: Vec<_> = (0..count).map(chunk).collect();
            for part in [1_usize, 7, 1000, 5000] {
                let mut tree = Tree::default();
                let parts = all.chunks(part);
                let last = parts.len() - 1;
                for (number, chunks) in parts.enumerate() {
                    tree.add(&chunks.to_vec(), number == last).unwrap();
                }
                assert_eq!(tree.hash().unwrap(), file_hash(&all), "{count} in parts of {part}");
            }
        }
        let mut tree = Tree::default();
        let terabyte = 1_u64 << 24;
        for start in (0..terabyte).step_by(1 << 15) {
            let chunks: Vec<_> = (start..start + (1 << 15)).map(chunk).collect();
            tree.add(&chunks, start + (1 << 15) == terabyte).unwrap();
            assert!(tree.0.as_ref().unwrap().num_nodes() < 2000);
        }
        assert!(tree.hash().is_ok());
    }
}
