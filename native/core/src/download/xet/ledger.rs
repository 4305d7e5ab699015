//! Which chunks of a Xet file have been hashed and written, in whatever order they came, and the
//! Merkle hash that they add up to.
//!
//! The chunks before the first gap are folded into a Merkle subtree as soon as there are enough of
//! them, so the ledger's size depends on how far apart the file is being written, not on how large
//! it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, MerkleHashSubtree};

use crate::model::error::{Error, Kind, Result};

/// Leaves that are kept before they are folded.
const FOLD_AT: usize = 4096;

/// What [`Ledger::insert`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The chunk was missing.
    New,
    /// It is here already, from an overlapping request.
    Known,
}

/// The chunks of one file. Shared by the tasks that write it.
pub(crate) struct Ledger {
    size: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// All chunks before `leaves`, folded.
    folded: Option<MerkleHashSubtree>,
    /// The chunks that follow, up to the first gap. Never empty once there was one: closing the
    /// tree needs a last leaf.
    leaves: Vec<(MerkleHash, u64)>,
    /// Where the first gap begins.
    frontier: u64,
    /// Chunks after the first gap, by file offset.
    ahead: BTreeMap<u64, (MerkleHash, u64)>,
}

impl Ledger {
    /// An empty ledger for a file of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, state: Mutex::default() }
    }

    /// Enters a chunk of `len` bytes that belongs at `offset`.
    pub(crate) fn insert(&self, offset: u64, hash: MerkleHash, len: u64) -> Result<Inserted> {
        if len == 0 || offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(lie(format!(
                "a chunk of {len} bytes at {offset} in a file of {}",
                self.size
            )));
        }
        let mut state = self.state();
        if offset < state.frontier {
            return Ok(Inserted::Known);
        }
        if let Some(known) = state.ahead.get(&offset) {
            return if *known == (hash, len) {
                Ok(Inserted::Known)
            } else {
                Err(lie(format_args!("two different chunks at offset {offset}")))
            };
        }
        // A chunk that is refused must leave no trace: those that are right are still to come.
        let before = state.ahead.range(..offset).next_back();
        let overlaps_before = before.is_some_and(|(at, (_, len))| at + len > offset);
        let overlaps_after = state.ahead.range(offset..offset + len).next().is_some();
        if overlaps_before || overlaps_after {
            return Err(lie(format_args!("overlapping chunks at offset {offset}")));
        }
        state.ahead.insert(offset, (hash, len));
        state.advance()?;
        Ok(Inserted::New)
    }

    /// The gaps inside `within`, in order.
    pub(crate) fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let state = self.state();
        let mut gaps = Vec::new();
        let mut at = within.start.max(state.frontier);
        for (&offset, &(_, len)) in &state.ahead {
            if offset >= within.end {
                break;
            }
            if offset > at {
                gaps.push(at..offset);
            }
            at = at.max(offset + len);
        }
        if at < within.end {
            gaps.push(at..within.end);
        }
        gaps
    }

    /// The Merkle hash of the file, once nothing is missing.
    pub(crate) fn file_hash(&self) -> Option<MerkleHash> {
        let state = self.state();
        if state.frontier != self.size {
            return None;
        }
        let last = MerkleHashSubtree::from_chunks(state.folded.is_none(), &state.leaves, true);
        let root = match &state.folded {
            None => last.final_hash()?,
            Some(folded) => {
                let mut all = folded.clone();
                all.merge_into(&last).ok()?;
                all.final_hash()?
            }
        };
        // The salt of public files is all zeros (merklehash::file_hash); an empty file has the zero
        // hash unsalted.
        if self.size == 0 {
            Some(MerkleHash::default())
        } else {
            Some(root.hmac(MerkleHash::default()))
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below leaves the state whole, so a panic elsewhere doesn't spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Moves the chunks that now touch the frontier behind it.
    fn advance(&mut self) -> Result<()> {
        while let Some((hash, len)) = self.ahead.remove(&self.frontier) {
            self.frontier += len;
            self.leaves.push((hash, len));
        }
        if self.leaves.len() > FOLD_AT {
            let last = self.leaves.len() - 1;
            let front =
                MerkleHashSubtree::from_chunks(self.folded.is_none(), &self.leaves[..last], false);
            match &mut self.folded {
                None => self.folded = Some(front),
                Some(folded) => folded.merge_into(&front).map_err(Error::internal)?,
            }
            self.leaves.drain(..last);
        }
        Ok(())
    }
}

fn lie(what: impl std::fmt::Display) -> Error {
    Error::new(Kind::InvalidResponse, format!("the CAS sent an impossible reconstruction: {what}"))
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::{compute_data_hash, file_hash};

    use super::*;

    fn chunks(n: u64) -> Vec<(MerkleHash, u64)> {
        (0..n).map(|i| (compute_data_hash(&i.to_le_bytes()), 1 + i % 7)).collect()
    }

    /// Whatever the order of arrival, the hash is xet-core's own for the same list.
    #[test]
    fn any_order_gives_the_hash_of_the_list() {
        for n in [1, 2, 3, 100, FOLD_AT as u64 - 1, FOLD_AT as u64 + 1, 3 * FOLD_AT as u64 + 17] {
            let list = chunks(n);
            let size = list.iter().map(|c| c.1).sum();
            let ledger = Ledger::new(size);
            let mut placed = Vec::new();
            let mut at = 0;
            for &(hash, len) in &list {
                placed.push((at, hash, len));
                at += len;
            }
            let mut random = fastrand::Rng::with_seed(n);
            // Nearly in order, as concurrent fetches come.
            for window in placed.chunks_mut(257) {
                random.shuffle(window);
            }
            for &(offset, hash, len) in &placed {
                assert!(ledger.file_hash().is_none());
                assert_eq!(ledger.insert(offset, hash, len).unwrap(), Inserted::New);
                assert_eq!(ledger.insert(offset, hash, len).unwrap(), Inserted::Known);
            }
            assert_eq!(ledger.file_hash(), Some(file_hash(&list)), "{n} chunks");
        }
    }

    /// An empty file is complete from the start, with the zero hash.
    #[test]
    fn an_empty_file_has_the_zero_hash() {
        assert_eq!(Ledger::new(0).file_hash(), Some(MerkleHash::default()));
    }

    /// The gaps are what was not entered, cut to the range asked about.
    #[test]
    fn gaps_are_reported_in_order() {
        let ledger = Ledger::new(100);
        let hash = MerkleHash::default();
        for (offset, len) in [(0, 10), (20, 10), (30, 5), (90, 10)] {
            ledger.insert(offset, hash, len).unwrap();
        }
        assert_eq!(ledger.missing(0..100), [10..20, 35..90]);
        assert_eq!(ledger.missing(25..95), vec![35..90]);
        assert_eq!(ledger.missing(90..100), []);
    }

    /// Chunks that overlap or leave the file are the server's lie, not a panic.
    #[test]
    fn impossible_chunks_are_refused() {
        let ledger = Ledger::new(100);
        let hash = MerkleHash::default();
        assert!(ledger.insert(95, hash, 10).is_err());
        assert!(ledger.insert(u64::MAX, hash, 1).is_err());
        assert!(ledger.insert(0, hash, 0).is_err());
        ledger.insert(10, hash, 10).unwrap();
        for (offset, len) in [(10, 11), (5, 10), (5, 6), (19, 1), (12, 3), (0, 100)] {
            assert!(ledger.insert(offset, hash, len).is_err(), "{offset}, {len}");
        }
        // What was refused has left no trace.
        assert_eq!(ledger.missing(0..100), [0..10, 20..100]);
        ledger.insert(0, hash, 10).unwrap();
        ledger.insert(20, hash, 80).unwrap();
        assert!(ledger.file_hash().is_some());
    }
}
