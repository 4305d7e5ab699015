//! A large file, in parts.
//!
//! xet-core keeps the hash of each chunk of a file until it has read all of it: 40 bytes for every
//! 64 KiB, 640 MiB for a tebibyte. So a large file is given to it in parts. They are put together as
//! xet-core does it with an edited file (`upload_ranges`): the terms of the parts follow each other,
//! and the trees above their chunks are merged into the file's. Each part ends where a chunk of the
//! file ends ([`cut`](super::cut)), so its hash is the same as if it had been read in one go.

use xet_core_structures::merklehash::{ChunkHashList, MerkleHash, MerkleHashSubtree};
use xet_core_structures::metadata_shard::Sha256;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry,
    MDBFileInfo,
};

use super::fault;
use crate::model::error::{Error, Result};

/// The parts of a file that were stored, put together as far as they go.
#[derive(Default)]
pub(super) struct Composed {
    tree: Option<MerkleHashSubtree>,
    terms: Vec<FileDataSequenceEntry>,
    verification: Vec<FileVerificationEntry>,
}

impl Composed {
    /// Adds the next part, of these chunks.
    pub(super) fn add(
        &mut self,
        chunks: &ChunkHashList,
        part: MDBFileInfo,
        last: bool,
    ) -> Result<()> {
        self.add_chunks(chunks, last)?;
        if part.segments.len() != part.verification.len() {
            return Err(Error::internal("a part of a file came without its verification"));
        }
        self.terms.extend(part.segments);
        self.verification.extend(part.verification);
        Ok(())
    }

    fn add_chunks(&mut self, chunks: &ChunkHashList, last: bool) -> Result<()> {
        let next = MerkleHashSubtree::from_chunks(self.tree.is_none(), chunks, last);
        match &mut self.tree {
            None => self.tree = Some(next),
            Some(tree) => tree.merge_into(&next).map_err(Error::internal)?,
        }
        Ok(())
    }

    /// The Merkle hash of the whole, once its last part was added.
    fn hash(&self) -> Result<MerkleHash> {
        let root = self.tree.as_ref().and_then(MerkleHashSubtree::final_hash);
        let root = root.ok_or_else(|| Error::internal("a file's last part is missing"))?;
        // As `file_hash` does it.
        Ok(root.hmac(MerkleHash::default()))
    }

    /// The whole file, for the CAS.
    pub(super) fn finish(self, sha256: &str, size: u64) -> Result<(MerkleHash, MDBFileInfo)> {
        check_terms(&self.terms, size)?;
        let hash = self.hash()?;
        let sha256 = Sha256::from_hex(sha256).map_err(Error::internal)?;
        let metadata = FileDataSequenceHeader::new(hash, self.terms.len(), true, true);
        let info = MDBFileInfo {
            metadata,
            segments: self.terms,
            verification: self.verification,
            metadata_ext: Some(FileMetadataExt::new(sha256)),
        };
        Ok((hash, info))
    }
}

/// Makes sure that these terms are a file of `size` bytes: what deduplication has counted may be something else.
pub(super) fn check_terms(terms: &[FileDataSequenceEntry], size: u64) -> Result<()> {
    let described: u64 = terms.iter().map(|term| u64::from(term.unpacked_segment_bytes)).sum();
    if described == size {
        return Ok(());
    }
    let problem = format!("an upload of {size} bytes is described as {described} bytes");
    Err(fault::of_known_chunks(Error::internal(problem)))
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
                let mut composed = Composed::default();
                let parts = all.chunks(part);
                let last = parts.len() - 1;
                for (number, chunks) in parts.enumerate() {
                    composed.add_chunks(&chunks.to_vec(), number == last).unwrap();
                }
                assert_eq!(composed.hash().unwrap(), file_hash(&all), "{count} in parts of {part}");
            }
        }
        let mut composed = Composed::default();
        let terabyte = 1_u64 << 24;
        for start in (0..terabyte).step_by(1 << 15) {
            let chunks: Vec<_> = (start..start + (1 << 15)).map(chunk).collect();
            composed.add_chunks(&chunks, start + (1 << 15) == terabyte).unwrap();
            assert!(composed.tree.as_ref().unwrap().num_nodes() < 2000);
        }
        assert!(composed.hash().is_ok());
    }
}
