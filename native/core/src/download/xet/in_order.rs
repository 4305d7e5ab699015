//! The list of a finished file's chunks, in order, from a journal that isn't.

use std::collections::BTreeMap;

use crate::cas::sources::PlacedChunk;
use crate::reuse::ChunkRecord;

/// Notes of a journal that are held because others belong before them: some 20 MB.
const MOST_AHEAD: usize = 1 << 19;

/// The notes of a journal, whose chunks were written out of order, in file order up to the first gap.
///
/// What was written ahead is held, up to a limit: then what is furthest ahead is let go, and read again
/// from the journal's beginning once there is room. A journal is nearly in order unless the beginning of
/// the file came last.
pub(super) struct InOrder<F, I> {
    read: F,
    records: Option<I>,
    ahead: BTreeMap<u64, ChunkRecord>,
    /// How many of them are held.
    most: usize,
    /// Some were let go since the journal was last begun.
    left_out: bool,
    /// Where the next note belongs, and where that was when the journal was last begun.
    at: u64,
    begun: u64,
}

impl<F, I> InOrder<F, I>
where
    F: Fn() -> Option<I>,
    I: Iterator<Item = PlacedChunk>,
{
    /// Of the journal that `read` begins to read.
    pub(super) fn new(read: F) -> Self {
        Self::holding(read, MOST_AHEAD)
    }

    fn holding(read: F, most: usize) -> Self {
        let (records, ahead) = (read(), BTreeMap::new());
        Self { read, records, ahead, most, left_out: false, at: 0, begun: 0 }
    }
}

impl<F, I> Iterator for InOrder<F, I>
where
    F: Fn() -> Option<I>,
    I: Iterator<Item = PlacedChunk>,
{
    type Item = ChunkRecord;

    fn next(&mut self) -> Option<ChunkRecord> {
        loop {
            if let Some(note) = self.ahead.remove(&self.at) {
                self.at += u64::from(note.len);
                return Some(note);
            }
            if let Some(record) = self.records.as_mut()?.next() {
                if record.offset >= self.at {
                    self.ahead.insert(record.offset, ChunkRecord::new(record.len, &record.hash));
                }
                if self.ahead.len() > self.most {
                    self.ahead.pop_last();
                    self.left_out = true;
                }
                continue;
            }
            if !self.left_out || self.at == self.begun {
                self.records = None;
                return None;
            }
            (self.left_out, self.begun) = (false, self.at);
            self.records = (self.read)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use xet_core_structures::merklehash::MerkleHash;

    use super::*;
    use crate::cas::chunker::Cut;

    /// A chunk of `len` bytes at `offset`; its hash says where it belongs.
    fn record(offset: u64, len: u32) -> PlacedChunk {
        PlacedChunk { offset, len, hash: MerkleHash::from([offset; 4]), cut: Cut::AsPublished }
    }

    /// Reads a journal in some order, of whose notes `most` may be held; how often that takes.
    fn passes(order: impl Fn(u64) -> u64, most: usize) -> u32 {
        const COUNT: u64 = 1000;
        let read = Cell::new(0);
        let journal = || {
            read.set(read.get() + 1);
            Some((0..COUNT).map(|i| record(order(i) * 10, 10)))
        };
        let mut notes = InOrder::holding(journal, most);
        for i in 0..COUNT {
            assert!(notes.next().unwrap().matches(&record(i * 10, 10).hash), "{i}");
            assert!(notes.ahead.len() <= most);
        }
        assert!(notes.next().is_none());
        read.get()
    }

    /// Whatever the order in the journal, and however little may be held, all notes come in file order,
    /// and a journal that is nearly in order is read once.
    #[test]
    fn notes_come_in_file_order_however_few_may_be_held() {
        assert_eq!(passes(|i| i ^ 7, 8), 1);
        assert_eq!(passes(|i| 999 - i, 1000), 1);
        assert_eq!(passes(|i| 999 - i, 100), 10);
    }

    /// Where something is missing, the notes end, and the journal isn't read for ever.
    #[test]
    fn notes_end_at_the_first_gap() {
        let journal = || Some((0..100).rev().filter(|i| *i != 20).map(|i| record(i * 10, 10)));
        assert_eq!(InOrder::holding(journal, 8).count(), 20);
        assert_eq!(InOrder::holding(|| None::<std::iter::Empty<PlacedChunk>>, 8).count(), 0);
    }
}
