//! The rules by which xet-core has cut files into chunks, for content that is on this machine.
//!
//! A file is published by one rule, and nothing says by which: who cuts content again tries them, and
//! sees by counts, lengths and hashes whether it came out as published.

use bytes::Bytes;
use gearhash::{DEFAULT_TABLE, Hasher};
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;
use xet_data::deduplication::Chunker;

/// A rule of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What xet-core does now.
    Today,
    /// What it did before September 2025: about one chunk in a thousand ends elsewhere.
    Before202509,
}

/// All of them, the likeliest first.
pub(crate) const RULES: [Rule; 2] = [Rule::Today, Rule::Before202509];

/// Cuts content that is given to it piece by piece.
pub(crate) enum Cutter {
    Today(Box<Chunker>),
    Before202509(Box<Older>),
}

impl Cutter {
    pub(crate) fn new(rule: Rule) -> Self {
        match rule {
            Rule::Today => Self::Today(Box::default()),
            Rule::Before202509 => Self::Before202509(Box::default()),
        }
    }

    /// The chunks that end in this piece, by hash and length. `is_last`: the last one ends with it.
    pub(crate) fn push(&mut self, piece: &Bytes, is_last: bool) -> Vec<(MerkleHash, u64)> {
        match self {
            Self::Today(chunker) => {
                let chunks = chunker.next_block_bytes(piece, is_last);
                chunks.into_iter().map(|chunk| (chunk.hash, chunk.data.len() as u64)).collect()
            }
            Self::Before202509(older) => older.push(piece, is_last),
        }
    }
}

/// The shortest chunk that the older rule was meant to make before the end of a file.
const SHORTEST: usize = 8 << 10;

/// Bits of the rolling hash that are zero where a chunk ends.
const MASK: u64 = 0xffff << 48;

/// How many bytes the rolling hash is made of.
const WINDOW: usize = 64;

/// The rule of before September 2025. It begins to look for an end [`WINDOW`] bytes before the shortest
/// chunk is full, and takes one that it finds there, where the hash knows too little of the content yet.
/// Today's looks on.
pub(crate) struct Older {
    hasher: Hasher<'static>,
    /// The beginning of a chunk whose end hasn't come yet.
    begun: Vec<u8>,
}

impl Default for Older {
    fn default() -> Self {
        Self { hasher: Hasher::new(&DEFAULT_TABLE), begun: Vec::new() }
    }
}

impl Older {
    fn push(&mut self, mut piece: &[u8], is_last: bool) -> Vec<(MerkleHash, u64)> {
        let mut chunks = Vec::new();
        while !piece.is_empty() {
            let room = *MAX_CHUNK_SIZE - self.begun.len();
            let end = room.min(piece.len());
            let skipped = (SHORTEST - WINDOW - 1).saturating_sub(self.begun.len()).min(end);
            let found = self.hasher.next_match(&piece[skipped..end], MASK);
            let (taken, rest) = piece.split_at(found.map_or(end, |found| skipped + found));
            piece = rest;
            self.begun.extend_from_slice(taken);
            if found.is_some() || end == room || (is_last && piece.is_empty()) {
                chunks.push((compute_data_hash(&self.begun), self.begun.len() as u64));
                self.begun.clear();
                self.hasher.set_hash(0);
            }
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift32 (13, 17, 5), the low byte of each state: the published example of both rules.
    fn example() -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        (0..3 << 20).map(|_| next()).collect()
    }

    fn cut(rule: Rule, content: &[u8], step: usize) -> Vec<(MerkleHash, u64)> {
        let mut cutter = Cutter::new(rule);
        let mut chunks = Vec::new();
        let mut at = 0;
        for piece in content.chunks(step) {
            at += piece.len();
            chunks.extend(cutter.push(&Bytes::copy_from_slice(piece), at == content.len()));
        }
        chunks
    }

    /// Both rules give the numbers of chunks that are published for the example.
    #[test]
    fn both_rules_cut_as_published() {
        let content = example();
        let [today, older] = RULES.map(|rule| cut(rule, &content, content.len()));
        assert_eq!((today.len(), older.len()), (52, 55));
        assert_eq!(older.iter().filter(|chunk| chunk.1 == 8128).count(), 3);
        let mut at = 0;
        for (hash, len) in older {
            let len = usize::try_from(len).unwrap();
            assert_eq!(compute_data_hash(&content[at..at + len]), hash);
            at += len;
        }
        assert_eq!(at, content.len());
    }

    /// The pieces that content comes in make no difference.
    #[test]
    fn pieces_make_no_difference() {
        let mut content = example();
        content.truncate(1 << 20);
        content.extend(vec![0; 300_000]);
        for rule in RULES {
            let whole = cut(rule, &content, content.len());
            for step in [1, 63, 8_127, 8_191, 131_072, 200_001] {
                assert_eq!(cut(rule, &content, step), whole, "{rule:?}, {step}");
            }
        }
    }
}
