//! What a file adds up to by each rule that it may have been published by.
//!
//! Where nobody says how a file was published, it's cut by all rules, which nearly always agree. Today's
//! ledger has the chunks of today's rule, and knows what is missing; the older one has those of the rule
//! of before September 2025, from where they first differ. What was published as it is is in both.
//!
//! A hash that is entered is that of bytes which stand in the file. So nothing may be written where
//! the older ledger has something already: if that happens, it's given up, and proves nothing any more.

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use xet_core_structures::merklehash::MerkleHash;

use super::ledger::{Inserted, Ledger};
use crate::cas::chunker::{Cut, Rule};
use crate::cas::sources::PlacedChunk;
use crate::model::error::Result;

/// The chunks of one file. Shared by the tasks that write it.
pub(crate) struct Ledgers {
    today: Ledger,
    /// Held for writing only while they part.
    older: RwLock<Older>,
}

enum Older {
    /// The rules haven't differed yet.
    LikeToday,
    Apart(Ledger),
    /// It may have hashes of what was there before.
    GivenUp,
}

impl Ledgers {
    /// Empty ones, for a file of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { today: Ledger::new(size), older: RwLock::new(Older::LikeToday) }
    }

    /// Enters a chunk that is then going to be written to its place. Not for what only the older rule
    /// makes.
    pub(crate) fn insert(&self, chunk: &PlacedChunk) -> Result<Inserted> {
        self.add(chunk, |today| today.insert(chunk.offset, chunk.hash, chunk.len.into()))
    }

    /// The same, for one that was [promised](Self::promise).
    pub(crate) fn keep_written(&self, chunk: &PlacedChunk) -> Result<Inserted> {
        self.add(chunk, |today| today.keep(chunk.offset, chunk.hash, chunk.len.into()))
    }

    /// Enters a promised chunk that has been read where it stands.
    pub(crate) fn keep(&self, chunk: &PlacedChunk) -> Result<Inserted> {
        let older = self.older_for(chunk.cut);
        let kept = self.today.keep(chunk.offset, chunk.hash, chunk.len.into())?;
        if let (Inserted::New, Older::Apart(ledger)) = (kept, &*older)
            && chunk.cut.is_by(Rule::Before202509)
        {
            // One that doesn't fit says nothing against those that stand there, too: it leaves a gap.
            let _ = ledger.insert(chunk.offset, chunk.hash, chunk.len.into());
        }
        Ok(kept)
    }

    /// Enters a chunk that only the older rule makes of bytes that stand there already.
    pub(crate) fn enter_older(&self, chunk: &PlacedChunk) -> Result<Inserted> {
        let older = self.older_for(chunk.cut);
        match &*older {
            Older::Apart(ledger) => ledger.insert(chunk.offset, chunk.hash, chunk.len.into()),
            _ => Ok(Inserted::Known),
        }
    }

    /// The hash that the file has by a rule, once nothing is missing.
    pub(crate) fn file_hash(&self, rule: Rule) -> Option<MerkleHash> {
        match (rule, &*self.older()) {
            (Rule::Today, _) | (Rule::Before202509, Older::LikeToday) => self.today.file_hash(),
            (Rule::Before202509, Older::Apart(ledger)) => ledger.file_hash(),
            (Rule::Before202509, Older::GivenUp) => None,
        }
    }

    /// Takes note that an earlier attempt has left a chunk there, until somebody has read it.
    pub(crate) fn promise(&self, offset: u64, len: u64) -> Result<Inserted> {
        self.today.promise(offset, len)
    }

    /// Whether a chunk was promised, and nobody has read it.
    pub(crate) fn is_promised(&self, range: &Range<u64>) -> bool {
        self.today.is_promised(range)
    }

    /// What is promised, in order.
    pub(crate) fn promised(&self) -> Vec<Range<u64>> {
        self.today.promised()
    }

    /// Lets everything be missing that was promised and that nobody has read.
    pub(crate) fn forget_promises(&self) {
        self.today.forget_promises();
    }

    /// The gaps inside `within`, in order.
    pub(crate) fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        self.today.missing(within)
    }

    fn add(
        &self,
        chunk: &PlacedChunk,
        enter: impl FnOnce(&Ledger) -> Result<Inserted>,
    ) -> Result<Inserted> {
        let older = self.older_for(chunk.cut);
        let entered = enter(&self.today)?;
        let (Inserted::New, Older::Apart(ledger)) = (entered, &*older) else { return Ok(entered) };
        let is_free = ledger.missing(chunk.range()) == [chunk.range()];
        if is_free && chunk.cut.is_by(Rule::Before202509) {
            ledger.insert(chunk.offset, chunk.hash, chunk.len.into())?;
        }
        if !is_free {
            drop(older);
            *self.older.write().unwrap_or_else(PoisonError::into_inner) = Older::GivenUp;
        }
        Ok(entered)
    }

    /// The older ledger, where there is one for a chunk that is cut so.
    fn older_for(&self, cut: Cut) -> RwLockReadGuard<'_, Older> {
        let older = self.older();
        if !matches!((cut, &*older), (Cut::By(_), Older::LikeToday)) {
            return older;
        }
        drop(older);
        let mut older = self.older.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*older, Older::LikeToday) {
            *older = Older::Apart(self.today.copy());
        }
        drop(older);
        self.older()
    }

    fn older(&self) -> RwLockReadGuard<'_, Older> {
        // Only ever replaced as a whole, so a panic elsewhere doesn't spoil it.
        self.older.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::{compute_data_hash, file_hash};

    use super::*;

    const OLDER: Cut = Cut::By(Rule::Before202509);
    const TODAY: Cut = Cut::By(Rule::Today);

    fn chunk(offset: u64, len: u32, cut: Cut) -> PlacedChunk {
        let hash = compute_data_hash(format!("{offset} {len}").as_bytes());
        PlacedChunk { offset, len, hash, cut }
    }

    fn hash(chunks: &[PlacedChunk]) -> MerkleHash {
        let chunks: Vec<_> = chunks.iter().map(|c| (c.hash, u64::from(c.len))).collect();
        file_hash(&chunks)
    }

    /// A file has a hash by each rule, whether the chunks come before or after the first difference.
    #[test]
    fn each_rule_has_its_hash() {
        let same = [chunk(0, 10, Cut::ByAnyRule), chunk(30, 5, Cut::AsPublished)];
        let (today, older) = (chunk(10, 20, TODAY), [chunk(10, 8, OLDER), chunk(18, 12, OLDER)]);
        for late in [false, true] {
            let ledgers = Ledgers::new(35);
            let (first, second) = if late { (1, 0) } else { (0, 1) };
            ledgers.insert(&same[first]).unwrap();
            ledgers.insert(&today).unwrap();
            ledgers.insert(&same[second]).unwrap();
            assert_eq!(ledgers.file_hash(Rule::Before202509), None);
            for chunk in &older {
                assert_eq!(ledgers.enter_older(chunk).unwrap(), Inserted::New);
            }
            let by_today = hash(&[same[0], today, same[1]]);
            assert_eq!(ledgers.file_hash(Rule::Today), Some(by_today));
            let by_older = hash(&[same[0], older[0], older[1], same[1]]);
            assert_eq!(ledgers.file_hash(Rule::Before202509), Some(by_older));
        }
        let ledgers = Ledgers::new(10);
        ledgers.insert(&same[0]).unwrap();
        assert_eq!(ledgers.file_hash(Rule::Before202509), Some(hash(&same[..1])));
    }

    /// Whatever is written over bytes that the older rule has vouched for, it proves nothing any more.
    #[test]
    fn what_is_written_over_is_not_proven() {
        for cut in [Cut::AsPublished, Cut::ByAnyRule, TODAY] {
            let ledgers = Ledgers::new(20);
            ledgers.enter_older(&chunk(0, 20, OLDER)).unwrap();
            assert!(ledgers.file_hash(Rule::Before202509).is_some());
            ledgers.insert(&chunk(0, 20, cut)).unwrap();
            assert_eq!(ledgers.file_hash(Rule::Before202509), None, "{cut:?}");
            ledgers.enter_older(&chunk(0, 20, OLDER)).unwrap();
            assert_eq!(ledgers.file_hash(Rule::Before202509), None, "{cut:?}");
        }
    }

    /// What is only read where it stands takes nothing away.
    #[test]
    fn what_is_read_again_is_kept_by_both() {
        let ledgers = Ledgers::new(20);
        ledgers.promise(0, 20).unwrap();
        ledgers.enter_older(&chunk(0, 8, OLDER)).unwrap();
        ledgers.keep(&chunk(0, 15, TODAY)).unwrap();
        ledgers.enter_older(&chunk(8, 7, OLDER)).unwrap();
        ledgers.keep(&chunk(15, 5, Cut::ByAnyRule)).unwrap();
        let by_older = [chunk(0, 8, OLDER), chunk(8, 7, OLDER), chunk(15, 5, OLDER)];
        assert_eq!(ledgers.file_hash(Rule::Before202509), Some(hash(&by_older)));
        assert!(ledgers.missing(0..20).is_empty());
    }
}
