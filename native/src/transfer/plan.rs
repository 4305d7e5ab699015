//! Where each byte of a file is going to come from: the plan of a download, before it begins.
//!
//! A plan is a value. It's made from a file's terms and from what the reuse index knows of their
//! xorbs, without a network or a disk; what is done with it is the business of others: the transfer
//! carries it out, and a dry run prints it.

use std::ops::Range;
use std::sync::Arc;

use super::block::Fetch;
use crate::reuse::{Note, Place, Run, Term};

/// Chunks to copy from a file on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) place: Arc<Place>,
    /// Where the first chunk is in that file.
    pub(crate) at: u64,
    /// Where it goes in the new one.
    pub(crate) offset: u64,
    /// One for each chunk.
    pub(crate) notes: Vec<Note>,
}

impl Copy {
    fn new(run: Run, offset: u64) -> Self {
        Self { place: run.place, at: run.at, offset, notes: run.notes }
    }

    /// How many bytes there are to copy.
    pub(crate) fn len(&self) -> u64 {
        self.notes.iter().map(|note| u64::from(note.len)).sum()
    }

    /// What they are in the new file.
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len()
    }
}

/// Where the parts of one file come from. The ranges don't overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// From files on this machine, in order.
    pub(crate) copies: Vec<Copy>,
    /// From Xet storage, in order, neighbours joined.
    pub(crate) remote: Vec<Range<u64>>,
}

impl Plan {
    /// The plan for a part of a file that has these terms, in order and without gaps. `find` says
    /// what this machine has of a term's chunks.
    pub(crate) fn new(terms: &[Term], mut find: impl FnMut(&Term) -> Vec<Run>) -> Self {
        let mut plan = Self::default();
        for term in terms {
            let mut at = term.offset;
            for (offset, run) in placed(term, find(term)) {
                plan.fetch(at..offset);
                let copy = Copy::new(run, offset);
                at = copy.range().end;
                plan.copies.push(copy);
            }
            plan.fetch(at..term.end());
        }
        plan
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

/// Where runs of a term's xorb go in the file. A term says where its first chunk begins and its last
/// one ends, but not where those between are. So a run has a place if the lengths of all chunks
/// before it are known, or of all behind it; one in the middle of unknown chunks has none.
fn placed(term: &Term, runs: Vec<Run>) -> Vec<(u64, Run)> {
    let count = runs.len();
    let mut front = Vec::new();
    let mut next = (term.chunks.start, term.offset);
    let mut runs = runs.into_iter().peekable();
    while let Some(run) = runs.next_if(|run| run.chunks.start == next.0) {
        let offset = next.1;
        next = (run.chunks.end, offset.saturating_add(run.len()));
        front.push((offset, run));
    }
    let mut back = Vec::new();
    let mut end = (term.chunks.end, term.end());
    for run in runs.rev().take_while(|run| {
        let touches = run.chunks.end == end.0;
        end.0 = run.chunks.start;
        touches
    }) {
        // Before the first unknown chunk there would be nothing left for it.
        let Some(offset) = end.1.checked_sub(run.len()) else { return Vec::new() };
        end.1 = offset;
        back.push((offset, run));
    }
    // What the index says of the lengths must agree with the term.
    let is_whole = front.len() == count && next.0 == term.chunks.end;
    if next.1 > end.1 || (is_whole && next.1 != term.end()) {
        return Vec::new();
    }
    front.extend(back.into_iter().rev());
    front
}

/// What is left of an answer's fetches when only the ranges in `remote` are wanted.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// Of these every chunk is needed.
    pub(crate) fetches: Vec<Fetch>,
    /// These are a part of what their fetches would bring, so they have to be asked for again.
    pub(crate) gaps: Vec<Range<u64>>,
}

/// Leaves out what isn't wanted. `remote` is in order, without overlaps, and begins and ends where
/// chunks do.
pub(crate) fn select(fetches: Vec<Fetch>, remote: &[Range<u64>]) -> Selected {
    let mut selected = Selected::default();
    for mut fetch in fetches {
        let before = fetch.placements.len();
        let all = std::mem::take(&mut fetch.placements);
        let mut gaps = Vec::new();
        for placement in all {
            let range = placement.offset..placement.offset + placement.len;
            let wanted = intersect(&range, remote);
            if wanted == [range] {
                fetch.placements.push(placement);
            } else {
                gaps.extend(wanted);
            }
        }
        let is_untouched = fetch.placements.len() == before;
        if is_untouched || (gaps.is_empty() && needs_every_chunk(&fetch)) {
            selected.fetches.push(fetch);
        } else {
            gaps.extend(fetch.placements.iter().map(|p| p.offset..p.offset + p.len));
            selected.gaps.extend(gaps);
        }
    }
    selected.fetches.retain(|fetch| !fetch.placements.is_empty());
    selected.gaps.sort_by_key(|gap| gap.start);
    selected.gaps.dedup_by(|next, last| {
        let touches = next.start == last.end;
        if touches {
            last.end = next.end;
        }
        touches
    });
    selected
}

/// The parts of `range` that are in `sorted`.
fn intersect(range: &Range<u64>, sorted: &[Range<u64>]) -> Vec<Range<u64>> {
    let first = sorted.partition_point(|other| other.end <= range.start);
    sorted[first..]
        .iter()
        .take_while(|other| other.start < range.end)
        .map(|other| other.start.max(range.start)..other.end.min(range.end))
        .collect()
}

/// Whether the placements together use all that the fetch brings.
fn needs_every_chunk(fetch: &Fetch) -> bool {
    let mut runs: Vec<_> = fetch.placements.iter().map(|p| p.chunks.clone()).collect();
    runs.sort_by_key(|run| run.start);
    let reached = runs.iter().fold(fetch.chunks.start, |reached, run| {
        if run.start <= reached { reached.max(run.end) } else { reached }
    });
    reached == fetch.chunks.end
}
