//! How much of an upload was new, and where the rest was.

use std::collections::HashMap;

use xet_core_structures::merklehash::MerkleHash;

use super::learn::StoredTerm;
use crate::reuse::ChunkRecord;

/// Sums over the files of one call.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) bytes_total: u64,
    pub(super) bytes_new: u64,
    pub(super) bytes_on_hub: u64,
    pub(super) bytes_repeated: u64,
    pub(super) bytes_sent: u64,
    pub(super) xorbs: u32,
    pub(super) files: u32,
    pub(super) files_changed: u32,
    pub(super) left_out: u64,
    seen: Seen,
}

/// Which chunks of which xorbs the call has come across: one bit each.
#[derive(Debug, Default)]
struct Seen(HashMap<MerkleHash, Vec<u64>>);

impl Stats {
    /// A file whose content is on the Hub, found out by its hash alone.
    pub(super) fn unchanged(&mut self, bytes: u64) {
        self.bytes_total += bytes;
        self.bytes_on_hub += bytes;
    }

    /// A file that was sent as it is.
    pub(super) fn sent(&mut self, bytes: u64) {
        self.bytes_total += bytes;
        self.bytes_new += bytes;
    }

    /// A file that is the same as an earlier one of the call.
    pub(super) fn repeated(&mut self, bytes: u64) {
        self.bytes_total += bytes;
        self.bytes_repeated += bytes;
    }

    /// Files that went through one Xet session, of which `new` bytes were new.
    pub(super) fn session<'a>(
        &mut self,
        files: impl Iterator<Item = (&'a [StoredTerm], &'a [ChunkRecord])>,
        new: u64,
    ) {
        let mut total = 0;
        let mut repeated = 0;
        for (terms, chunks) in files {
            let mut chunks = chunks.iter();
            for term in terms {
                let mut rest = u64::from(term.length);
                for index in term.chunks.0..term.chunks.1 {
                    // Of a file whose chunks aren't listed, they all count the same.
                    let share = rest / u64::from(term.chunks.1 - index);
                    let length = chunks.next().map_or(share, |chunk| u64::from(chunk.len));
                    rest = rest.saturating_sub(length);
                    total += length;
                    if self.seen.again(term.xorb, index) {
                        repeated += length;
                    }
                }
            }
        }
        self.bytes_total += total;
        self.bytes_new += new;
        self.bytes_repeated += repeated;
        self.bytes_on_hub += total.saturating_sub(new).saturating_sub(repeated);
    }
}

impl Seen {
    /// Remembers a chunk; true if it was known.
    fn again(&mut self, xorb: MerkleHash, index: u32) -> bool {
        let words = self.0.entry(xorb).or_default();
        let (word, bit) = (index as usize / 64, 1_u64 << (index % 64));
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        let known = words[word] & bit != 0;
        words[word] |= bit;
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk that comes twice counts as repeated; what is neither repeated nor new was on the
    /// Hub.
    #[test]
    fn each_byte_is_counted_in_one_place() {
        let xorb = |n| MerkleHash::from([n, 0, 0, 0]);
        let term = |xorb, start, end| StoredTerm { xorb, chunks: (start, end), length: 0 };
        let chunks = [10, 20, 30].map(|length| ChunkRecord::new(length, &xorb(9)));
        let first = [term(xorb(1), 0, 2), term(xorb(2), 5, 6)];
        let second = [term(xorb(1), 1, 3), term(xorb(1), 0, 1)];
        let mut stats = Stats::default();
        let files = [(&first[..], &chunks[..]), (&second[..], &chunks[..])];
        stats.session(files.into_iter(), 40);
        // Again are xorb 1's chunk 1, of 10 bytes in the second file, and its chunk 0, of 30.
        assert_eq!((stats.bytes_total, stats.bytes_new), (120, 40));
        assert_eq!((stats.bytes_repeated, stats.bytes_on_hub), (40, 40));
        // Without a list: of 7 bytes in 2 chunks, the second one has 4, and is there already.
        let unlisted = [StoredTerm { xorb: xorb(2), chunks: (4, 6), length: 7 }];
        stats.session([(&unlisted[..], &[][..])].into_iter(), 3);
        assert_eq!((stats.bytes_total, stats.bytes_repeated), (127, 44));
    }
}
