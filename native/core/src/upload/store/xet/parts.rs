//! A large file, in parts.
//!
//! xet-core keeps the hash of each chunk of a file until it has read all of it: 40 bytes for every
//! 64 KiB, 640 MiB for a tebibyte. So a large file is given to it in parts. They are put together as
//! xet-core does it with an edited file (`upload_ranges`): the terms of the parts follow each other,
//! and the trees above their chunks are merged into the file's. Each part ends where a chunk of the
//! file ends ([`cut`](super::cut)), so its hash is the same as if it had been read in one go.

use xet_core_structures::merklehash::{ChunkHashList, MerkleHash};
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry,
    MDBFileInfo,
};

use super::fault;
use super::tree::Tree;
use crate::model::error::{Error, Result};

/// The parts of a file that were stored, put together as far as they go.
#[derive(Default)]
pub(super) struct Composed {
    tree: Tree,
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
        self.tree.add(chunks, last)?;
        if part.segments.len() != part.verification.len() {
            return Err(Error::internal("a part of a file came without its verification"));
        }
        self.terms.extend(part.segments);
        self.verification.extend(part.verification);
        Ok(())
    }

    /// The whole file, for the CAS.
    pub(super) fn finish(
        self,
        metadata_ext: Option<FileMetadataExt>,
        size: u64,
    ) -> Result<(MerkleHash, MDBFileInfo)> {
        check_terms(&self.terms, size)?;
        let (hash, has_ext) = (self.tree.hash()?, metadata_ext.is_some());
        let metadata = FileDataSequenceHeader::new(hash, self.terms.len(), true, has_ext);
        let info = MDBFileInfo {
            metadata,
            segments: self.terms,
            verification: self.verification,
            metadata_ext,
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
