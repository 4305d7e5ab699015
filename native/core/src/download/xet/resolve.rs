//! Questions to the CAS about one file: where its bytes are, and with that, what of them this machine
//! has.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use super::copies::{Copy, CopyPlan, Unplaced};
use super::local::Local;
use super::parts::{self, Part};
use crate::call::Call;
use crate::call::progress::Counters;
use crate::cas::Cas;
use crate::cas::block::{self, Fetch};
use crate::model::error::Result;
use crate::reuse::Term;

/// How much of a file one reconstruction is asked for.
pub(super) const BLOCK: u64 = 1 << 30;

/// Reconstructions that are asked for at a time, where a file is taken in many small parts.
const RESOLVING: usize = 8;

/// Questions about the places of one term's chunks, at most. Most runs take one.
const MOST_QUESTIONS: u32 = 64;

/// Who asks about which file.
#[derive(Clone, Copy)]
pub(super) struct Resolver<'a> {
    pub(super) cas: &'a Cas,
    pub(super) hash: MerkleHash,
    pub(super) size: u64,
    pub(super) call: &'a Call,
    pub(super) counters: &'a Counters,
}

impl Resolver<'_> {
    /// All terms of the file, in order.
    pub(super) async fn terms(&self) -> Result<Vec<Term>> {
        self.terms_of(0..self.size).await
    }

    /// The terms that hold a part of the file, cut to the chunks that do.
    pub(super) async fn terms_of(&self, part: Range<u64>) -> Result<Vec<Term>> {
        let mut terms: Vec<Term> = Vec::new();
        let mut at = part.start;
        while at < part.end {
            let block = at..part.end.min(at.saturating_add(BLOCK));
            terms.extend(block::terms(&self.resolve(&block, &block).await?));
            at = terms.last().map_or(block.end, Term::end).max(block.end);
        }
        Ok(terms)
    }

    /// The plan for the parts of the file that are missing.
    pub(super) async fn probe(
        &self,
        local: &Arc<Local>,
        gaps: Vec<Range<u64>>,
    ) -> Result<CopyPlan> {
        let mut whole = CopyPlan::default();
        let mut gaps = VecDeque::from(gaps);
        while let Some((block, end)) = next_block(&mut gaps) {
            let (fetches, terms) = self.resolve_gaps(&block, end).await?;
            put_back(&mut gaps, &block, &terms, end);
            let plan = self.plan(local, block::terms(&fetches), &block).await?;
            whole.copies.extend(plan.copies);
            whole.remote.extend(plan.remote);
        }
        Ok(whole)
    }

    /// The fetches for these gaps up to `end`, and the terms of the file from the first gap on to where
    /// that ends: where a chunk does, so that no chunk is in two blocks. The gaps are asked about
    /// together, since a xorb may have something for many of them.
    pub(super) async fn resolve_gaps(
        &self,
        gaps: &[Range<u64>],
        end: u64,
    ) -> Result<(Vec<Fetch>, Vec<Term>)> {
        let within = hull(gaps);
        let block = within.start..within.end.min(end);
        let mut fetches = self.resolve(&block, &within).await?;
        let terms = block::terms(&fetches);
        if gaps.len() > 1 {
            let selected = parts::select(fetches, gaps);
            fetches = selected.fetches;
            let mut resolved = std::pin::pin!(self.resolve_parts(selected.parts, &within));
            while let Some(more) = resolved.next().await {
                fetches.extend(more?);
            }
            fetches = parts::join(fetches);
        }
        Ok((fetches, terms))
    }

    /// The fetches for each of these parts, which may write to `within`.
    pub(super) fn resolve_parts(
        &self,
        parts: Vec<Part>,
        within: &Range<u64>,
    ) -> impl Stream<Item = Result<Vec<Fetch>>> {
        stream::iter(parts)
            .map(async |part| {
                let mut fetches = self.resolve(&part.range, &part.range).await?;
                part.repeat(&mut fetches, within);
                Ok(fetches)
            })
            .buffered(RESOLVING)
    }

    /// The fetches for the bytes `wanted`, which may bring in more of `within`.
    pub(super) async fn resolve(
        &self,
        wanted: &Range<u64>,
        within: &Range<u64>,
    ) -> Result<Vec<Fetch>> {
        let answer = self.cas.reconstruction(&self.hash, wanted, self.counters).await?;
        block::fetches(&answer, wanted, within, self.size)
    }

    /// Finds out what of a part of the file this machine has.
    pub(super) async fn plan(
        &self,
        local: &Arc<Local>,
        terms: Vec<Term>,
        gaps: &[Range<u64>],
    ) -> Result<CopyPlan> {
        let (local, gaps) = (Arc::clone(local), gaps.to_vec());
        let mut plan = self
            .call
            .blocking("a look into the reuse index", move || Ok(local.plan(&terms, &gaps)))
            .await?;
        let mut placed = stream::iter(std::mem::take(&mut plan.unplaced))
            .map(|runs| self.locate(runs))
            .buffered(RESOLVING);
        while let Some(copies) = placed.next().await {
            plan.add(copies?);
        }
        Ok(plan)
    }

    /// Finds out where runs of a xorb go that are in the middle of a term: where its chunks begin is
    /// in the answers about parts of it.
    async fn locate(&self, mut runs: Unplaced) -> Result<Vec<Copy>> {
        let mut copies = Vec::new();
        let mut overshot = 0;
        for _ in 0..MOST_QUESTIONS {
            let Some(guess) = runs.guess(overshot) else { break };
            let part = runs.at..guess;
            let terms = block::terms(&self.resolve(&part, &part).await?);
            let [term] = terms.as_slice() else { break };
            if (term.xorb, term.offset, term.chunks.start) != (runs.xorb, runs.at, runs.chunk) {
                break;
            }
            let (is_near, copy) = runs.learn(term.chunks.end, term.end());
            overshot = if is_near { 0 } else { overshot + 1 };
            copies.extend(copy);
        }
        Ok(copies)
    }
}

/// Takes the gaps of the next block, the last of which may go on behind it, and says where the block
/// ends.
pub(super) fn next_block(gaps: &mut VecDeque<Range<u64>>) -> Option<(Vec<Range<u64>>, u64)> {
    let end = gaps.front()?.start.saturating_add(BLOCK);
    let count = gaps.partition_point(|gap| gap.start < end);
    Some((gaps.drain(..count).collect(), end))
}

/// Puts back what is left of the last gap of a block that was to end at `end`, and whose terms are
/// these.
pub(super) fn put_back(
    gaps: &mut VecDeque<Range<u64>>,
    block: &[Range<u64>],
    terms: &[Term],
    end: u64,
) {
    let end = end.min(hull(block).end);
    let ended = terms.last().map_or(end, Term::end).max(end);
    if let Some(last) = block.last().filter(|last| last.end > ended) {
        gaps.push_front(ended.max(last.start)..last.end);
    }
}

/// From the first of these ranges to the end of the last one.
pub(super) fn hull(ranges: &[Range<u64>]) -> Range<u64> {
    ranges.first().map_or(0, |first| first.start)..ranges.last().map_or(0, |last| last.end)
}
