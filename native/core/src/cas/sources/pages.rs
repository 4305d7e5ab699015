//! A whole file to copy, a page of its chunks at a time: all of them together would be large.

use std::sync::Arc;

use super::ThisMachine;
use super::copies::Copy;
use crate::reuse::{LocalCopy, Whole};

/// What is left to copy of a file that has the same content as another one.
pub(crate) struct Pages {
    whole: Whole,
    size: u64,
    /// The next page.
    number: u32,
    /// Where its first chunk is.
    at: u64,
}

impl Pages {
    pub(super) fn new(whole: Whole, size: u64) -> Self {
        Self { whole, size, number: 0, at: 0 }
    }

    /// The file that has it all.
    pub(crate) fn local(&self) -> &Arc<LocalCopy> {
        &self.whole.local
    }

    /// The next page as a copy. `None`: there are no more, or the index is wrong about the file.
    pub(crate) fn next(&mut self, source: &ThisMachine) -> Option<Copy> {
        if self.number == self.whole.pages() {
            return None;
        }
        let run = source.search().page(&self.whole, self.number, self.at)?;
        let copy = Copy { local: run.local, at: self.at, offset: self.at, records: run.records };
        self.number += 1;
        self.at = copy.range().end;
        (self.at <= self.size).then_some(copy)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;
    use crate::reuse::{ChunkRecord, Finished, Index};

    /// Copies follow each other to the end of the file, and none has notes of more than a page.
    #[test]
    fn a_large_file_is_never_held_as_a_whole() {
        const CHUNK: u32 = 64 << 10;
        const CHUNKS: u32 = 2500;
        let folder = tempfile::tempdir().unwrap();
        let index = Arc::new(Index::new(&folder.path().join("xet"), 1 << 30));
        let (path, hash) = (folder.path().join("large"), compute_data_hash(b"large"));
        let size = u64::from(CHUNK) * u64::from(CHUNKS);
        File::create(&path).unwrap().set_len(size).unwrap();
        let notes = (0..CHUNKS).map(|_| ChunkRecord::new(CHUNK, &hash));
        index.remember(Finished { hash: &hash, size, path: &path, terms: Vec::new() }, notes);

        let source = ThisMachine::new(&index);
        let mut pages = source.whole(&hash, size).unwrap();
        assert_eq!(pages.local().path(), path);
        let copies: Vec<_> = std::iter::from_fn(|| pages.next(&source)).collect();
        assert!(copies.iter().all(|copy| copy.records.len() <= 1024 && copy.at == copy.offset));
        assert_eq!(copies.last().unwrap().range().end, size);
        assert!(copies.is_sorted_by(|one, next| one.range().end == next.offset));
        assert_eq!(copies[0].offset, 0);
    }
}
