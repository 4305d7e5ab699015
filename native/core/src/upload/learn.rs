//! What an upload knows about the files that it has stored: the same that a download learns of
//! them, so that neither has to be fetched to a machine that has uploaded it.

use std::path::PathBuf;

use xet_core_structures::merklehash::MerkleHash;

use crate::reuse::{ChunkRecord, Finished, Index, Term};
use crate::sys::identity::FileIdentity;

/// A file of this machine, and where the CAS has its parts.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    /// Absolute, as the caller named it.
    pub(crate) path: PathBuf,
    /// The state that was uploaded; another is another file.
    pub(crate) identity: FileIdentity,
    pub(crate) size: u64,
    /// Merkle hash of the content.
    pub(crate) hash: MerkleHash,
    /// In file order.
    pub(crate) terms: Vec<StoredTerm>,
    /// In file order; none if the file is too large to list them.
    pub(crate) chunks: Vec<ChunkRecord>,
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

impl StoredFile {
    /// The largest file whose chunks are kept until it is entered: 48 MiB of them.
    pub(super) const LARGEST: u64 = 256 << 30;

    /// Enters the file into the reuse index, unless it has changed since it was uploaded. Blocks on
    /// the disk.
    pub(crate) fn remember(self, index: &Index) {
        if !self.identity.is_of(&self.path) {
            return;
        }
        let mut offset = 0;
        let terms = self.terms.iter().map(|term| {
            let (start, end) = term.chunks;
            let len = u64::from(term.length);
            let at = offset;
            offset += len;
            Term { xorb: term.xorb, chunks: start..end, offset: at, len }
        });
        let finished = Finished {
            hash: &self.hash,
            size: self.size,
            path: &self.path,
            terms: terms.collect(),
        };
        index.remember(finished, self.chunks.into_iter());
    }
}
