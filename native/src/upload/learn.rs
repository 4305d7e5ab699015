//! What an upload knows about the files that it has stored: the same that a download learns of
//! them, so that neither has to be fetched to a machine that has uploaded it.

use std::path::PathBuf;

use xet_core_structures::merklehash::MerkleHash;

use super::content::Identity;

/// A file of this machine, and where the CAS has its parts.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    /// Absolute, as the caller named it.
    pub(crate) path: PathBuf,
    /// The state that was uploaded; another is another file.
    pub(crate) identity: Identity,
    pub(crate) size: u64,
    /// Merkle hash of the content.
    pub(crate) hash: MerkleHash,
    /// In file order.
    pub(crate) terms: Vec<StoredTerm>,
    /// Hash and length of each chunk, in file order.
    pub(crate) chunks: Vec<(MerkleHash, u64)>,
}

/// A range of a xorb's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredTerm {
    pub(crate) xorb: MerkleHash,
    /// Index of the first chunk, and of the one after the last.
    pub(crate) chunks: (u32, u32),
    /// Length of the content.
    pub(crate) length: u32,
}

/// Who wants to know. Called once for each stored file of the caller's after the commit that names
/// it, on a thread that may block.
pub(crate) trait Learner: Send + Sync {
    fn learn(&self, file: StoredFile);
}

/// Forgets it.
impl Learner for () {
    fn learn(&self, file: StoredFile) {
        let StoredFile { path, identity, size, hash, terms, chunks } = file;
        let (terms, chunks) = (terms.len(), chunks.len());
        let path = path.display();
        tracing::trace!(%path, ?identity, size, %hash, terms, chunks, "uploaded");
    }
}
