//! What is remembered of a chunk, and how it's packed.
//!
//! A page is the notes of up to [`PAGE`] chunks of a file, in file order; each note is the chunk's
//! length (u24) and the first 8 bytes of its hash, little-endian. That is 11 bytes for 64 KiB of
//! content on average, or 0.017 %.

use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;

/// Chunks on a page: the smallest part of a file's list that can be read.
pub(super) const PAGE: u32 = 1024;

/// Bytes of a note.
const PACKED: usize = 3 + MARK;
const MARK: usize = 8;

/// What is remembered of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRecord {
    /// Uncompressed.
    pub(crate) len: u32,
    /// The beginning of its hash: enough to notice a chunk that has changed, without a second look
    /// at the file as a whole.
    mark: [u8; MARK],
}

impl ChunkRecord {
    /// Of a chunk of `len` bytes with that hash.
    pub(crate) fn new(len: u32, hash: &MerkleHash) -> Self {
        let mut mark = [0; MARK];
        mark.copy_from_slice(&hash.as_bytes()[..MARK]);
        Self { len, mark }
    }

    /// Whether a chunk with that hash may be the one that was noted.
    pub(crate) fn matches(&self, hash: &MerkleHash) -> bool {
        hash.as_bytes().starts_with(&self.mark)
    }

    pub(super) fn pack(self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.len.to_le_bytes()[..3]);
        page.extend_from_slice(&self.mark);
    }
}

/// The notes of a page, or `None` if it isn't one.
pub(super) fn unpack(page: &[u8]) -> Option<Vec<ChunkRecord>> {
    let (records, []) = page.as_chunks::<PACKED>() else { return None };
    let records = records.iter().map(|&[a, b, c, ref mark @ ..]| {
        let len = u32::from_le_bytes([a, b, c, 0]);
        (len > 0 && len as usize <= *MAX_CHUNK_SIZE).then_some(ChunkRecord { len, mark: *mark })
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    /// What was packed comes out again; a page that was cut or garbled is none.
    #[test]
    fn pages_are_unpacked_or_refused() {
        let hashes: Vec<_> = (0..40_u8).map(|i| compute_data_hash(&[i])).collect();
        let records: Vec<_> =
            hashes.iter().zip(1000..).map(|(h, len)| ChunkRecord::new(len, h)).collect();
        let mut page = Vec::new();
        for note in &records {
            note.pack(&mut page);
        }
        assert_eq!(unpack(&page), Some(records.clone()));
        assert!(records[3].matches(&hashes[3]) && !records[3].matches(&hashes[4]));
        assert_eq!(unpack(&page[1..]), None);
        page[..3].fill(0);
        assert_eq!(unpack(&page), None, "a chunk has bytes");
        page[..3].fill(255);
        assert_eq!(unpack(&page), None, "a chunk is at most 128 KiB");
    }
}
