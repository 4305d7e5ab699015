//! Where the chunks of a file go.

use std::fs::File;
use std::ops::Range;

use xet_core_structures::merklehash::MerkleHash;

use crate::call::file_task::FileTask;
use crate::call::scheduler::SMALL;
use crate::cas::chunker::PlacedChunk;
use crate::model::error::Result;

/// A chunk of which the hash is known, and where it belongs.
#[derive(Clone, Copy)]
pub(crate) struct LooseChunk<'a> {
    pub(crate) offset: u64,
    pub(crate) hash: MerkleHash,
    pub(crate) content: &'a [u8],
}

/// Takes the chunks of one file, in any order and from many threads, and knows which it lacks.
///
/// What is put here has been hashed, and not yet been shown to belong to the file: that is for the
/// sink to find out. What has a default here is as for a sink that only holds chunks in memory. Its methods may
/// block, except for [`task`](Self::task), [`hash`](Self::hash), [`missing`](Self::missing), [`is_busy`](Self::is_busy), [`doubt`](Self::doubt) and
/// [`has_clashed`](Self::has_clashed).
pub(crate) trait ChunkSink: Send + Sync + 'static {
    /// Whose file it is, and who counts its bytes.
    fn task(&self) -> &FileTask;

    /// The Merkle hash of the file.
    fn hash(&self) -> MerkleHash;

    /// The gaps inside `within`, in order. They begin and end where chunks do.
    fn missing(&self, within: Range<u64>) -> Vec<Range<u64>>;

    /// Puts chunks in their places, unless there are some already: those that follow each other at once. What is
    /// added to `placed` the caller owes to [`enter`](Self::enter), also if this fails.
    fn place(&self, chunks: &[LooseChunk<'_>], placed: &mut Vec<PlacedChunk>) -> Result<()>;

    /// A body of at most so many bytes is one of the many, in the [scheduler](crate::call::scheduler).
    fn small(&self) -> u64 {
        SMALL
    }

    /// Whether somebody else is writing, so that what is placed now would have to wait.
    fn is_busy(&self) -> bool {
        false
    }

    /// Takes note of what has been placed, for an attempt after this one. Empties the list.
    fn enter(&self, placed: &mut Vec<PlacedChunk>) -> Result<()> {
        placed.clear();
        Ok(())
    }

    /// Nobody vouches for what is in this range: only the hash of the whole can.
    fn doubt(&self, range: Range<u64>);

    /// Whether what comes doesn't fit what was here before, so that other answers wouldn't, either.
    fn has_clashed(&self) -> bool {
        false
    }

    /// Fills a range, of which nothing is there yet, with what `source` has from `at` on, without
    /// copying it. False: that can't be done. Nobody has hashed it then: each of its chunks is to be
    /// [read](Self::read_at) and [claimed](Self::claim).
    fn share(&self, _source: &File, _at: u64, _range: &Range<u64>) -> Result<bool> {
        Ok(false)
    }

    /// Reads what was shared; false if it isn't there.
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> Result<bool> {
        Ok(false)
    }

    /// Enters a chunk that stands in its place already; as [`place`](Self::place).
    fn claim(&self, _offset: u64, _hash: MerkleHash, _len: usize) -> Result<Option<PlacedChunk>> {
        Ok(None)
    }
}
