//! Which chunks of a Xet file have been hashed and written, in whatever order they came, and the
//! Merkle hash that they add up to.
//!
//! Chunks that follow each other are a run, and all but the last of a run's chunks are folded into a
//! Merkle subtree as soon as there are enough of them. So the ledger's size depends on how many places
//! of the file are being written, not on how large it is. (Where a file repeats one chunk, and isn't
//! here from its beginning, nothing can be folded before it is.)

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xet_core_structures::merklehash::{MerkleHash, MerkleHashSubtree};

use crate::cas::block;
use crate::model::error::{Error, Result};

/// Leaves of a run that are kept before they are folded.
const FOLD_AT: usize = 1024;

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

#[derive(Clone, Default)]
struct State {
    /// By where they begin. They don't touch: where one ends, something is missing.
    runs: BTreeMap<u64, Run>,
    /// Ranges of the partial file whose chunks an earlier attempt has noted and nobody has read
    /// again yet, by where they begin: they aren't missing, and don't count.
    promised: BTreeMap<u64, u64>,
}

/// Chunks that follow each other.
#[derive(Clone)]
struct Run {
    end: u64,
    /// All chunks before `leaves`.
    folded: Option<MerkleHashSubtree>,
    /// The last ones, hash and length. Never empty: closing the tree needs a last leaf.
    leaves: Vec<(MerkleHash, u64)>,
}

impl Ledger {
    /// An empty ledger for a file of `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self { size, state: Mutex::default() }
    }

    /// Another one with the same chunks, without what was promised.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self { size: self.size, state: Mutex::new(self.state().clone()) };
        copy.forget_promises();
        copy
    }

    /// Enters a chunk of `len` bytes that belongs at `offset`.
    pub(crate) fn insert(&self, offset: u64, hash: MerkleHash, len: u64) -> Result<Inserted> {
        let range = self.range(offset, len)?;
        let mut state = self.state();
        match state.promised_overlap(&range) {
            None => state.insert(range, hash),
            // What an earlier attempt has left is looked at by somebody else, and fetched if it's
            // wrong.
            Some(promised) if promised.start <= range.start && range.end <= promised.end => {
                Ok(Inserted::Known)
            }
            Some(_) => Err(overlap(offset)),
        }
    }

    /// Takes note that an earlier attempt has left a chunk there, until somebody has read it.
    pub(crate) fn promise(&self, offset: u64, len: u64) -> Result<Inserted> {
        let range = self.range(offset, len)?;
        let mut state = self.state();
        if state.promised_overlap(&range).is_some() || state.overlaps_run(&range) {
            return Ok(Inserted::Known);
        }
        state.add_promise(range);
        Ok(Inserted::New)
    }

    /// Enters a promised chunk that has been read.
    pub(crate) fn keep(&self, offset: u64, hash: MerkleHash, len: u64) -> Result<Inserted> {
        let range = self.range(offset, len)?;
        let mut state = self.state();
        if state.end_promise(&range) { state.insert(range, hash) } else { Ok(Inserted::Known) }
    }

    /// Whether a chunk was promised, and nobody has read it.
    pub(crate) fn is_promised(&self, range: &Range<u64>) -> bool {
        let promised = self.state().promised_overlap(range);
        promised.is_some_and(|p| p.start <= range.start && range.end <= p.end)
    }

    /// What is promised, in order.
    pub(crate) fn promised(&self) -> Vec<Range<u64>> {
        self.state().promised.iter().map(|(&start, &end)| start..end).collect()
    }

    /// Lets everything be missing that was promised and that nobody has read.
    pub(crate) fn forget_promises(&self) {
        self.state().promised.clear();
    }

    /// The gaps inside `within`, in order.
    pub(crate) fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let state = self.state();
        let runs = first_from(&state.runs, within.start, |run| run.end);
        let promised = first_from(&state.promised, within.start, |&end| end);
        let mut runs = state.runs.range(runs..within.end).map(|(&at, run)| at..run.end).peekable();
        let mut promised =
            state.promised.range(promised..within.end).map(|(&at, &end)| at..end).peekable();
        let mut gaps = Vec::new();
        let mut at = within.start;
        loop {
            let next = match (runs.peek(), promised.peek()) {
                (Some(run), Some(other)) if run.start < other.start => runs.next(),
                (Some(_), None) => runs.next(),
                (_, Some(_)) => promised.next(),
                (None, None) => break,
            };
            let Some(there) = next else { break };
            if there.start > at {
                gaps.push(at..there.start);
            }
            at = at.max(there.end);
        }
        if at < within.end {
            gaps.push(at..within.end);
        }
        gaps
    }

    /// The Merkle hash of the file, once nothing is missing.
    pub(crate) fn file_hash(&self) -> Option<MerkleHash> {
        if self.size == 0 {
            // The salt of public files is all zeros (merklehash::file_hash); an empty file has the
            // zero hash unsalted.
            return Some(MerkleHash::default());
        }
        let state = self.state();
        let run = state.runs.get(&0).filter(|run| run.end == self.size)?;
        let last = MerkleHashSubtree::from_chunks(run.folded.is_none(), &run.leaves, true);
        let root = match &run.folded {
            None => last.final_hash()?,
            Some(folded) => {
                let mut all = folded.clone();
                all.merge_into(&last).ok()?;
                all.final_hash()?
            }
        };
        Some(root.hmac(MerkleHash::default()))
    }

    fn range(&self, offset: u64, len: u64) -> Result<Range<u64>> {
        match offset.checked_add(len) {
            Some(end) if len > 0 && end <= self.size => Ok(offset..end),
            _ => Err(block::lie(format_args!(
                "a chunk of {len} bytes at {offset} in a file of {}",
                self.size
            ))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below leaves the state whole, so a panic elsewhere doesn't spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, range: Range<u64>, hash: MerkleHash) -> Result<Inserted> {
        let len = range.end - range.start;
        if let Some((&at, run)) = self.runs.range(..range.end).next_back()
            && run.end > range.start
        {
            // A chunk that is refused must leave no trace: those that are right are still to come.
            return match run.leaf_at(at, range.start) {
                Some(Leaf::At(known)) if known == (hash, len) => Ok(Inserted::Known),
                Some(Leaf::At(_)) => {
                    Err(block::lie(format_args!("two different chunks at offset {}", range.start)))
                }
                Some(Leaf::Folded) if range.end <= run.end => Ok(Inserted::Known),
                _ => Err(overlap(range.start)),
            };
        }
        // The run before grows by the chunk, if it ends there; else the chunk is one of its own.
        let before = self.runs.range(..range.start).next_back();
        let begins = match before {
            Some((&at, run)) if run.end == range.start => at,
            _ => range.start,
        };
        let next = self.runs.remove(&range.end);
        let is_first = begins == 0;
        let run = self.runs.entry(begins).or_insert_with(|| Run::at(range.start));
        run.push(hash, len, is_first)?;
        match next {
            Some(next) => run.join(next, is_first),
            None => Ok(()),
        }?;
        Ok(Inserted::New)
    }

    fn overlaps_run(&self, range: &Range<u64>) -> bool {
        self.runs.range(..range.end).next_back().is_some_and(|(_, run)| run.end > range.start)
    }

    fn promised_overlap(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let (&start, &end) = self.promised.range(..range.end).next_back()?;
        (end > range.start).then_some(start..end)
    }

    fn add_promise(&mut self, mut range: Range<u64>) {
        if let Some((&start, &end)) = self.promised.range(..=range.start).next_back()
            && end == range.start
        {
            range.start = start;
        }
        if let Some(end) = self.promised.remove(&range.end) {
            range.end = end;
        }
        self.promised.insert(range.start, range.end);
    }

    /// False: this wasn't promised, or not any more.
    fn end_promise(&mut self, range: &Range<u64>) -> bool {
        let Some(promised) = self.promised_overlap(range) else { return false };
        if promised.start > range.start || promised.end < range.end {
            return false;
        }
        self.promised.remove(&promised.start);
        for left in [promised.start..range.start, range.end..promised.end] {
            if !left.is_empty() {
                self.promised.insert(left.start, left.end);
            }
        }
        true
    }
}

/// Where to begin looking for what reaches behind `at`.
fn first_from<T>(map: &BTreeMap<u64, T>, at: u64, end: impl Fn(&T) -> u64) -> u64 {
    let before = map.range(..at).next_back().filter(|(_, value)| end(value) > at);
    before.map_or(at, |(&start, _)| start)
}

/// What a run knows of an offset.
enum Leaf {
    /// The chunk that begins there.
    At((MerkleHash, u64)),
    /// Only that it has it.
    Folded,
}

impl Run {
    fn at(offset: u64) -> Self {
        // Most runs of one chunk stay that: room for one.
        Self { end: offset, folded: None, leaves: Vec::with_capacity(1) }
    }

    /// What the run, which begins at `begins`, has at `offset`; `None`: the middle of a chunk, or
    /// nothing.
    fn leaf_at(&self, begins: u64, offset: u64) -> Option<Leaf> {
        let mut at = self.end;
        for &leaf in self.leaves.iter().rev() {
            at -= leaf.1;
            if at <= offset {
                return (at == offset).then_some(Leaf::At(leaf));
            }
        }
        (begins <= offset).then_some(Leaf::Folded)
    }

    fn push(&mut self, hash: MerkleHash, len: u64, is_first: bool) -> Result<()> {
        self.end += len;
        self.leaves.push((hash, len));
        if self.leaves.len() > FOLD_AT { self.fold(1, is_first) } else { Ok(()) }
    }

    /// Folds all leaves but the last `keep`.
    fn fold(&mut self, keep: usize, is_first: bool) -> Result<()> {
        let count = self.leaves.len() - keep;
        if count == 0 {
            return Ok(());
        }
        let begins = is_first && self.folded.is_none();
        let front = MerkleHashSubtree::from_chunks(begins, &self.leaves[..count], false);
        match &mut self.folded {
            None => self.folded = Some(front),
            Some(folded) => folded.merge_into(&front).map_err(Error::internal)?,
        }
        self.leaves.drain(..count);
        Ok(())
    }

    /// Takes in the run that begins where this one ends.
    fn join(&mut self, next: Self, is_first: bool) -> Result<()> {
        self.end = next.end;
        let Some(after) = next.folded else {
            self.leaves.extend(next.leaves);
            return if self.leaves.len() > FOLD_AT { self.fold(1, is_first) } else { Ok(()) };
        };
        self.fold(0, is_first)?;
        match &mut self.folded {
            None => self.folded = Some(after),
            Some(folded) => folded.merge_into(&after).map_err(Error::internal)?,
        }
        self.leaves = next.leaves;
        Ok(())
    }
}

fn overlap(offset: u64) -> Error {
    block::lie(format_args!("overlapping chunks at offset {offset}"))
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

    /// Runs that are written apart, as those of many fetches, join to the hash of the list.
    #[test]
    fn runs_join_in_any_order() {
        for n in [3, 50, 3 * FOLD_AT as u64 + 17] {
            let list = chunks(n);
            let mut placed = Vec::new();
            let mut at = 0;
            for &(hash, len) in &list {
                placed.push((at, hash, len));
                at += len;
            }
            let mut random = fastrand::Rng::with_seed(n);
            // Each fetch brings its chunks in order; which is first, and which of them lags, is chance.
            let mut fetches: Vec<_> = placed.chunks(300).map(<[_]>::iter).collect();
            let ledger = Ledger::new(at);
            while !fetches.is_empty() {
                let i = random.usize(..fetches.len());
                for &(offset, hash, len) in fetches[i].by_ref().take(random.usize(1..200)) {
                    assert_eq!(ledger.insert(offset, hash, len).unwrap(), Inserted::New);
                }
                fetches.retain(|fetch| fetch.len() > 0);
            }
            assert_eq!(ledger.file_hash(), Some(file_hash(&list)), "{n} chunks");
        }
    }

    impl State {
        /// What the runs take.
        fn bytes(&self) -> usize {
            let node = size_of::<(MerkleHash, u64)>();
            let run = |run: &Run| {
                let folded = run.folded.as_ref().map_or(0, MerkleHashSubtree::num_nodes);
                size_of::<Run>() + (run.leaves.capacity() + folded) * node
            };
            self.runs.values().map(run).sum()
        }
    }

    /// What was promised isn't missing, counts once it has been read, and is missing if nobody does.
    #[test]
    fn promises_are_kept_or_not() {
        let ledger = Ledger::new(100);
        let hash = MerkleHash::default();
        for (offset, len) in [(0, 10), (20, 10), (10, 10), (60, 20)] {
            assert_eq!(ledger.promise(offset, len).unwrap(), Inserted::New);
        }
        assert_eq!(ledger.promise(25, 10).unwrap(), Inserted::Known, "one that doesn't fit");
        assert_eq!(ledger.missing(0..100), [30..60, 80..100]);
        assert_eq!(ledger.insert(20, hash, 10).unwrap(), Inserted::Known);
        assert!(ledger.insert(50, hash, 20).is_err(), "reaches into what was promised");
        assert!(ledger.is_promised(&(10..30)) && !ledger.is_promised(&(20..31)));
        assert_eq!(ledger.keep(20, hash, 10).unwrap(), Inserted::New);
        assert_eq!(ledger.keep(20, hash, 10).unwrap(), Inserted::Known, "twice");
        assert_eq!(ledger.promised(), [0..20, 60..80]);
        ledger.forget_promises();
        assert_eq!(ledger.missing(0..100), [0..20, 30..100]);
    }

    /// What the ledger holds doesn't grow with the file, only with the number of its writers.
    #[test]
    fn a_large_file_takes_no_more_than_a_small_one() {
        const WRITERS: u64 = 48;
        const LEN: u64 = 64 << 10;
        let held = |chunks: u64| {
            let ledger = Ledger::new(chunks * LEN);
            let mut most = 0;
            let each = chunks / WRITERS;
            let mut random = fastrand::Rng::with_seed(1);
            // Each writer has its part of the file, and the first one is always the last.
            for i in 0..each {
                for writer in (0..WRITERS).rev() {
                    let index = writer * each + i;
                    let hash = MerkleHash::from([0; 4].map(|_: u8| random.u64(..)));
                    ledger.insert(index * LEN, hash, LEN).unwrap();
                }
                if i % 500 == 0 {
                    most = most.max(ledger.state().bytes());
                }
            }
            most
        };
        let small = held(WRITERS * 4_000);
        let large = held(WRITERS * 32_000);
        assert!(large < 8 << 20, "{large} bytes for 94 GiB");
        assert!(large < small + small / 4, "{small} bytes for 12 GiB, {large} for 94");
    }
}
