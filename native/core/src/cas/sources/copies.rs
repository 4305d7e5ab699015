//! Where each byte of a file is going to come from: the plan of a download, before it begins.
//!
//! A plan is a value. It's made from a file's terms and from what the reuse index knows of their
//! xorbs, without a network or a disk; what is done with it is the business of others: the transfer
//! carries it out, and a dry run prints it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;

use crate::reuse::{ChunkRecord, LocalCopy, Run, Term};

/// Bytes that are worth a question to the CAS: what a fast network brings while it's answered.
const WORTH_ASKING: u64 = 512 << 10;

/// Chunks to copy from a file on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) local: Arc<LocalCopy>,
    /// Where the first chunk is in that file.
    pub(crate) at: u64,
    /// Where it goes in the new one.
    pub(crate) offset: u64,
    /// One for each chunk.
    pub(crate) records: Vec<ChunkRecord>,
}

impl Copy {
    fn new(run: Run, offset: u64) -> Self {
        Self { local: run.local, at: run.at, offset, records: run.records }
    }

    fn chunks(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// How many bytes there are to copy.
    pub(crate) fn len(&self) -> u64 {
        self.records.iter().map(|record| u64::from(record.len)).sum()
    }

    /// What they are in the new file.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len()
    }
}

/// Runs of a xorb that this machine has, and that belong between chunks whose lengths aren't known.
/// Whoever learns where some chunk near them begins can place them.
#[derive(Clone, Debug)]
pub(crate) struct Unplaced {
    pub(crate) xorb: MerkleHash,
    /// Where `chunk` begins: the last position that is known.
    pub(crate) at: u64,
    pub(crate) chunk: u32,
    /// Where the part of the file ends that the runs are in, and the chunks of it.
    end: u64,
    end_chunk: u32,
    /// In the order of the xorb.
    runs: VecDeque<Run>,
}

impl Unplaced {
    /// A position that is likely to be inside the next run; `None` if there is no run left.
    /// `overshot` says how often such a position was behind it.
    pub(crate) fn guess(&self, overshot: u32) -> Option<u64> {
        let run = self.runs.front()?;
        let known: u64 = self.runs.iter().map(Run::len).sum();
        let known_chunks: u64 = self.runs.iter().map(|run| run.records.len() as u64).sum();
        let chunks = u64::from(self.end_chunk - self.chunk).saturating_sub(known_chunks);
        let average = (self.end - self.at).saturating_sub(known) / chunks.max(1);
        let before = u64::from(run.chunks.start - self.chunk);
        let distance = (average * before + run.len() / 2) >> overshot;
        Some((self.at + distance.max(1)).min(self.end))
    }

    /// Takes in that the xorb's chunk with that index begins at `at`. Returns the next run as a copy
    /// if that places it. False: it's behind the run, so it's of no use.
    pub(crate) fn learn(&mut self, chunk: u32, at: u64) -> (bool, Option<Copy>) {
        let Some(run) = self.runs.front() else { return (false, None) };
        if chunk > run.chunks.end || at > self.end {
            return (false, None);
        }
        let Some(inside) = chunk.checked_sub(run.chunks.start) else {
            (self.chunk, self.at) = (chunk, at);
            return (true, None);
        };
        let before: u64 = run.records[..inside as usize].iter().map(|n| u64::from(n.len)).sum();
        let Some(offset) = at.checked_sub(before).filter(|&offset| offset >= self.at) else {
            return (false, None);
        };
        let copy = self.runs.pop_front().map(|run| {
            self.chunk = run.chunks.end;
            Copy::new(run, offset)
        });
        self.at = copy.as_ref().map_or(at, |copy| copy.range().end);
        (true, copy)
    }
}

/// Where the parts of one file come from. The ranges don't overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct CopyPlan {
    /// From files on this machine, in order.
    pub(crate) copies: Vec<Copy>,
    /// From Xet storage, in order, neighbours joined.
    pub(crate) remote: Vec<Range<u64>>,
    /// A part of what is remote may be copied after all.
    pub(crate) unplaced: Vec<Unplaced>,
}

impl CopyPlan {
    /// The plan for parts of a file that have these terms, in order. `find` says
    /// what this machine has of a term's chunks.
    pub(crate) fn new(terms: &[Term], mut find: impl FnMut(&Term) -> Vec<Run>) -> Self {
        let mut plan = Self::default();
        for term in terms {
            let placed = place(term, find(term));
            let mut at = term.offset;
            for copy in placed.copies {
                plan.fetch(at..copy.offset);
                at = copy.range().end;
                plan.copies.push(copy);
            }
            plan.fetch(at..term.end());
            plan.unplaced.extend(placed.rest);
        }
        plan
    }

    /// Takes up copies of parts that are remote so far.
    pub(crate) fn add(&mut self, copies: Vec<Copy>) {
        for copy in copies {
            let range = copy.range();
            let Some(i) = self
                .remote
                .iter()
                .position(|remote| remote.start <= range.start && range.end <= remote.end)
            else {
                continue;
            };
            let remote = self.remote[i].clone();
            let left = [remote.start..range.start, range.end..remote.end];
            self.remote.splice(i..=i, left.into_iter().filter(|part| !part.is_empty()));
            self.copies.push(copy);
        }
    }

    /// Bytes to copy.
    pub(crate) fn reusable(&self) -> u64 {
        self.copies.iter().map(Copy::len).sum()
    }

    fn fetch(&mut self, range: Range<u64>) {
        match self.remote.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.remote.push(range),
        }
    }
}

/// The runs of one term.
#[derive(Default)]
struct Placed {
    copies: Vec<Copy>,
    rest: Option<Unplaced>,
}

/// Where runs of a term's xorb go in the file. A term says where its first chunk begins and its last
/// one ends, but not where those between are. So a run has a place if the lengths of all chunks
/// before it are known, or of all behind it; one in the middle of unknown chunks has none yet.
fn place(term: &Term, runs: Vec<Run>) -> Placed {
    let mut runs = VecDeque::from(runs);
    let mut copies = Vec::new();
    let (mut chunk, mut at) = (term.chunks.start, term.offset);
    while runs.front().is_some_and(|run| run.chunks.start == chunk)
        && let Some(run) = runs.pop_front()
    {
        let copy = Copy::new(run, at);
        at = copy.range().end;
        chunk += copy.chunks();
        copies.push(copy);
    }
    let mut back = Vec::new();
    let (mut end_chunk, mut end) = (term.chunks.end, term.end());
    while runs.back().is_some_and(|run| run.chunks.end == end_chunk)
        && let Some(run) = runs.pop_back()
    {
        // There must be room for it behind what is placed already.
        let Some(offset) = end.checked_sub(run.len()).filter(|&offset| offset >= at) else {
            return Placed::default();
        };
        let copy = Copy::new(run, offset);
        end = offset;
        end_chunk -= copy.chunks();
        back.push(copy);
    }
    // What the index says of the lengths must agree with the term.
    if at > end || (chunk == end_chunk) != (at == end) {
        return Placed::default();
    }
    copies.extend(back.into_iter().rev());
    // A run that is shorter than what it takes to ask isn't worth it.
    runs.retain(|run| run.len() >= WORTH_ASKING);
    let rest =
        (!runs.is_empty()).then_some(Unplaced { xorb: term.xorb, at, chunk, end, end_chunk, runs });
    Placed { copies, rest }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use std::fmt::Write;

    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    const XORB: &[u8] = b"xorb";
    const START: u64 = 5000;

    /// Chunk i of the xorb has this many bytes.
    fn len(i: u32) -> u32 {
        100_000 + i
    }

    fn span(chunks: Range<u32>) -> u64 {
        chunks.map(|i| u64::from(len(i))).sum()
    }

    fn run(chunks: Range<u32>) -> Run {
        let place = Arc::new(LocalCopy::at("/f"));
        let note = |i: u32| ChunkRecord::new(len(i), &compute_data_hash(&i.to_le_bytes()));
        Run { chunks: chunks.clone(), records: chunks.map(note).collect(), local: place, at: 0 }
    }

    fn term(chunks: Range<u32>) -> Term {
        let len = span(chunks.clone());
        Term { xorb: compute_data_hash(XORB), chunks, offset: START, len }
    }

    fn plan(runs: &[Range<u32>]) -> CopyPlan {
        CopyPlan::new(&[term(10..100)], |_| runs.iter().cloned().map(run).collect())
    }

    /// The plan as text: for each part whether it's copied or fetched, and which chunks it has.
    fn shown(plan: &CopyPlan) -> String {
        let mut parts: Vec<_> = plan.copies.iter().map(|copy| (copy.range(), 'c')).collect();
        parts.extend(plan.remote.iter().cloned().map(|range| (range, 'r')));
        parts.sort_by_key(|(range, _)| range.start);
        let chunk = |at: u64| (10..=100).find(|&i| START + span(10..i) == at).unwrap();
        let mut end = START;
        let text = parts.into_iter().fold(String::new(), |mut text, (range, what)| {
            assert_eq!(range.start, end, "parts follow each other");
            end = range.end;
            let _ = write!(text, "{what}{}-{} ", chunk(range.start), chunk(range.end));
            text
        });
        assert_eq!(end, START + span(10..100), "all is covered");
        text.trim_end().to_owned()
    }

    /// What this machine has at either end of a term is copied, the rest is fetched.
    #[test]
    fn known_ends_are_copied() {
        assert_eq!(shown(&plan(&[])), "r10-100");
        assert_eq!(shown(&plan(&[10..100])), "c10-100");
        assert_eq!(shown(&plan(&[10..20])), "c10-20 r20-100");
        assert_eq!(shown(&plan(&[90..100])), "r10-90 c90-100");
        assert_eq!(shown(&plan(&[10..20, 20..30, 80..100])), "c10-20 c20-30 r30-80 c80-100");
    }

    /// Runs in the middle are placed once it's known where a chunk in or before them begins.
    #[test]
    fn runs_in_the_middle_are_placed_by_what_is_learnt() {
        let mut plan = plan(&[10..20, 40..50, 60..70, 90..100]);
        assert_eq!(shown(&plan), "c10-20 r20-90 c90-100");
        let [mut unplaced] = <[Unplaced; 1]>::try_from(std::mem::take(&mut plan.unplaced)).unwrap();
        let at = |chunk| START + span(10..chunk);
        let guess = unplaced.guess(0).unwrap();
        assert!(at(40) < guess && guess < at(50), "chunks here are of nearly the same length");
        assert!(unplaced.guess(1).unwrap() < guess);
        assert!(matches!(unplaced.learn(30, at(30)), (true, None)), "not there yet");
        assert!(matches!(unplaced.learn(51, at(51)), (false, None)), "too far");
        let (_, first) = unplaced.learn(43, at(43));
        let (_, second) = unplaced.learn(60, at(60));
        assert!(unplaced.guess(0).is_none());
        plan.add(vec![second.unwrap(), first.unwrap()]);
        assert_eq!(shown(&plan), "c10-20 r20-40 c40-50 r50-60 c60-70 r70-90 c90-100");
    }

    /// An index whose lengths contradict the term is not believed.
    #[test]
    fn lengths_that_contradict_the_term_are_not_believed() {
        for runs in [&[10..100][..], &[10..60, 60..100], &[10..55, 70..100], &[11..100]] {
            let mut shorter = term(10..100);
            shorter.len = span(10..80);
            let plan =
                CopyPlan::new(&[shorter.clone()], |_| runs.iter().cloned().map(run).collect());
            assert_eq!(plan.copies.len(), 0, "{runs:?}");
            assert_eq!(plan.remote, [START..shorter.end()]);
        }
    }
}
