//! The rules by which xet-core has cut files into chunks, for content that is on this machine.
//!
//! A file is published by one rule, and nothing says by which: who cuts content again does it by both,
//! in one go, and sees by counts, lengths and hashes which it was. Most chunks are the same.

use std::ops::Range;

use bytes::Bytes;
use gearhash::{DEFAULT_TABLE, Hasher};
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::xorb_object::constants::MAX_CHUNK_SIZE;
use xet_data::deduplication::Chunker;

use crate::model::error::{Error, Result};

/// A rule of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What xet-core does now.
    Today,
    /// What it did before September 2025: in content without a pattern, one chunk in twelve is another.
    Before202509,
}

/// All of them, the likeliest first.
pub(crate) const RULES: [Rule; 2] = [Rule::Today, Rule::Before202509];

/// Who says that a chunk begins and ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The file was published so.
    AsPublished,
    /// Each rule cuts the content so.
    ByAnyRule,
    /// Only this rule does.
    By(Rule),
}

impl Cut {
    /// Whether a file that was published by `rule` has the chunk.
    pub(crate) fn is_by(self, rule: Rule) -> bool {
        match self {
            Self::AsPublished | Self::ByAnyRule => true,
            Self::By(only) => only == rule,
        }
    }
}

/// A chunk that is in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacedChunk {
    /// In the file.
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) hash: MerkleHash,
    pub(crate) cut: Cut,
}

impl PlacedChunk {
    /// Where the chunk is.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len.into())
    }
}

/// A chunk, as far as the rules can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    /// In the file.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) hash: MerkleHash,
    pub(crate) cut: Cut,
    /// Empty if today's rule doesn't make the chunk.
    pub(crate) content: Bytes,
}

impl Guess {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// What is to be entered of it.
    pub(crate) fn placed(&self) -> Result<PlacedChunk> {
        let len = u32::try_from(self.len).map_err(Error::internal)?;
        Ok(PlacedChunk { offset: self.offset, len, hash: self.hash, cut: self.cut })
    }
}

/// Cuts content that is given to it piece by piece, by all rules.
pub(crate) struct Cutter {
    today: Chunker,
    /// Where the chunk begins whose end hasn't come yet.
    today_at: u64,
    older: Older,
    /// What only the older rule makes of content of which today's hasn't made chunks yet.
    ahead: Vec<Guess>,
    agreed: u64,
}

impl Cutter {
    /// For content that begins at `offset` of a file, where a chunk does.
    pub(crate) fn at(offset: u64) -> Self {
        let (today, older) = (Chunker::default(), Older::at(offset));
        Self { today, today_at: offset, older, ahead: Vec::new(), agreed: offset }
    }

    /// The chunks that end in this piece. `is_last`: the last one ends with it. Those that today's rule
    /// makes are all of the content, in order; what only the older one makes comes behind them.
    pub(crate) fn push(&mut self, piece: &Bytes, is_last: bool) -> Vec<Guess> {
        let mut guesses: Vec<Guess> = Vec::new();
        for chunk in self.today.next_block_bytes(piece, is_last) {
            let (hash, content) = (chunk.hash, chunk.data);
            let (offset, len) = (self.today_at, content.len() as u64);
            self.today_at += len;
            guesses.push(Guess { offset, len, hash, cut: Cut::By(Rule::Today), content });
        }
        let older = self.older.push(piece, is_last, |offset, len| {
            let Ok(at) = guesses.binary_search_by_key(&(offset + len), Guess::end) else {
                return false;
            };
            self.agreed = guesses[at].end();
            let is_same = guesses[at].offset == offset;
            if is_same {
                guesses[at].cut = Cut::ByAnyRule;
            }
            is_same
        });
        self.ahead.extend(older);
        // By the end, as they are in order.
        let behind = self.ahead.partition_point(|guess| guess.end() <= self.today_at);
        guesses.extend(self.ahead.drain(..behind));
        guesses
    }

    /// Where the last chunk ended that ended there by each rule, so that what came before is chunks by
    /// either.
    pub(crate) fn agreed(&self) -> u64 {
        self.agreed
    }
}

/// Chunks that come behind where the rules [agreed](Cutter::agreed), and wait until they do again. What goes
/// on behind a file's notes has to begin where either rule does.
#[derive(Default)]
pub(crate) struct Waiting(Vec<PlacedChunk>);

impl Waiting {
    /// How many may wait. More of them don't: then only today's rule is right about what follows.
    const MOST: usize = 4096;

    pub(crate) fn add(&mut self, chunk: PlacedChunk) {
        self.0.push(chunk);
    }

    /// Those that needn't wait.
    pub(crate) fn take(&mut self, cutter: &Cutter) -> Vec<PlacedChunk> {
        if self.0.len() > Self::MOST {
            return std::mem::take(&mut self.0);
        }
        self.0.extract_if(.., |chunk| chunk.range().end <= cutter.agreed()).collect()
    }
}

/// The shortest chunk that the rules were meant to make before the end of a file.
const MEANT: usize = 8 << 10;

/// Bits of the rolling hash that are zero where a chunk ends.
const MASK: u64 = 0xffff << 48;

/// How many bytes the rolling hash is made of.
const WINDOW: usize = 64;

/// The shortest chunk that a rule makes before the end of a file.
pub(crate) const SHORTEST: usize = MEANT - WINDOW;

/// The rule of before September 2025. It begins to look for an end [`WINDOW`] bytes before the shortest
/// chunk is full, and takes one that it finds there, where the hash knows too little of the content yet:
/// with nearly each twelfth chunk, already after the first byte. Today's looks on.
struct Older {
    hasher: Hasher<'static>,
    /// The beginning of a chunk whose end hasn't come yet, and where it is.
    begun: Vec<u8>,
    at: u64,
}

impl Older {
    fn at(offset: u64) -> Self {
        Self { hasher: Hasher::new(&DEFAULT_TABLE), begun: Vec::new(), at: offset }
    }

    /// The chunks that end in this piece, but for those that are known by offset and length.
    fn push(
        &mut self,
        mut piece: &[u8],
        is_last: bool,
        mut is_known: impl FnMut(u64, u64) -> bool,
    ) -> Vec<Guess> {
        let mut chunks = Vec::new();
        while !piece.is_empty() {
            let room = *MAX_CHUNK_SIZE - self.begun.len();
            let end = room.min(piece.len());
            let skipped = (SHORTEST - 1).saturating_sub(self.begun.len()).min(end);
            let found = self.hasher.next_match(&piece[skipped..end], MASK);
            let (taken, rest) = piece.split_at(found.map_or(end, |found| skipped + found));
            piece = rest;
            self.begun.extend_from_slice(taken);
            if found.is_some() || end == room || (is_last && piece.is_empty()) {
                let (offset, len) = (self.at, self.begun.len() as u64);
                if !is_known(offset, len) {
                    let (hash, cut) = (compute_data_hash(&self.begun), Cut::By(Rule::Before202509));
                    chunks.push(Guess { offset, len, hash, cut, content: Bytes::new() });
                }
                self.at += len;
                self.begun.clear();
                self.hasher.set_hash(0);
            }
        }
        chunks
    }
}

#[cfg(test)]
mod tests;
