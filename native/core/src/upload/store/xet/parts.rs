//! A large file, in parts.
//!
//! xet-core keeps the hash of each chunk of a file until it has read all of it: 40 bytes for every
//! 64 KiB, 640 MiB for a tebibyte. So a large file is given to it in parts. They are put together as
//! xet-core does it with an edited file (`upload_ranges`): the terms of the parts follow each other,
//! and the trees above their chunks are merged into the file's. Each part ends where a chunk of the
//! file ends, so what is published is the same as if the file had been read in one go.

use bytes::Bytes;
use xet_core_structures::merklehash::{ChunkHashList, MerkleHash, MerkleHashSubtree};
use xet_core_structures::metadata_shard::Sha256;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry,
    MDBFileInfo,
};
use xet_data::deduplication::Chunker;

use crate::model::error::{Error, Result};

/// Content of a part, at least, unless it has [`CHUNKS`]: so many on average.
pub(super) const PART: u64 = 2 << 30;

/// Chunks of a part, at most: content of another kind than most may have eight times as many.
const CHUNKS: usize = 32 << 10;

/// Finds the ends of a file's chunks, without hashing them.
#[derive(Default)]
pub(super) struct Boundaries {
    /// What has come of the chunk whose end hasn't.
    tail: Vec<u8>,
}

impl Boundaries {
    /// The ends of chunks in `block`, which follows the one before.
    pub(super) fn of(&mut self, block: &[u8]) -> Vec<usize> {
        let before = self.tail.len();
        self.tail.extend_from_slice(block);
        let mut ends = Vec::new();
        let mut start = 0;
        // What a chunker has seen of an unfinished chunk it would have to see again.
        let mut chunker = Chunker::default();
        while let Some(length) = chunker.next_boundary(&self.tail[start..]) {
            start += length;
            ends.push(start - before);
        }
        self.tail.drain(..start);
        ends
    }
}

/// Cuts the blocks of a file into those of its parts.
pub(super) struct Cutter {
    part: u64,
    boundaries: Boundaries,
    /// Bytes of the part so far.
    length: u64,
    /// Its chunks that have ended.
    chunks: usize,
}

impl Cutter {
    /// Parts of at least `part` bytes.
    pub(super) fn new(part: u64) -> Self {
        Self { part, boundaries: Boundaries::default(), length: 0, chunks: 0 }
    }

    /// The pieces of the next block; each but the last ends a part.
    pub(super) fn cut(&mut self, block: &Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in self.boundaries.of(block) {
            self.chunks += 1;
            if self.length + (end - start) as u64 >= self.part || self.chunks == CHUNKS {
                pieces.push(block.slice(start..end));
                (start, self.length, self.chunks) = (end, 0, 0);
            }
        }
        self.length += (block.len() - start) as u64;
        pieces.push(block.slice(start..));
        pieces
    }
}

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
    pub(super) fn finish(self, sha256: &str) -> Result<(MerkleHash, MDBFileInfo)> {
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

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::{compute_data_hash, file_hash};

    use super::*;

    fn content() -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(12);
        let mut bytes = vec![0; 24 << 20];
        random.fill(&mut bytes[..9 << 20]);
        // A stretch in which every chunk has the full length.
        random.fill(&mut bytes[15 << 20..]);
        bytes
    }

    /// However a file comes in blocks, it's cut where its chunks end, and each part's chunks are
    /// the file's.
    #[test]
    fn parts_end_where_chunks_end() {
        let content = Bytes::from(content());
        let chunks = |bytes: &[u8]| Chunker::default().next_block(bytes, true);
        let whole: Vec<_> = chunks(&content).into_iter().map(|chunk| chunk.hash).collect();
        for block in [100_000, 1 << 20, 3_333_333, 64 << 20] {
            let mut cutter = Cutter::new(4 << 20);
            let mut parts = vec![Vec::new()];
            for start in (0..content.len()).step_by(block) {
                let end = (start + block).min(content.len());
                let mut pieces = cutter.cut(&content.slice(start..end)).into_iter();
                parts.last_mut().unwrap().extend(pieces.next().unwrap());
                parts.extend(pieces.map(Vec::from));
            }
            assert_eq!(parts.len(), 6, "blocks of {block}");
            assert!(parts.iter().rev().skip(1).all(|part| part.len() >= 4 << 20));
            let together: Vec<_> =
                parts.iter().flat_map(|part| chunks(part)).map(|chunk| chunk.hash).collect();
            assert!(together == whole, "blocks of {block}");
        }
    }

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
