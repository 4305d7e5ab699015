//! Questions to the CAS about one file: where its bytes are.

use std::collections::VecDeque;
use std::ops::Range;

use futures_util::{Stream, StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use super::Cas;
use super::block::{self, Fetch};
use super::parts::{self, Part};
use crate::call::Call;
use crate::call::file_task::FileTask;
use crate::call::progress::Counters;
use crate::model::error::Result;
use crate::reuse::Term;

/// How much of a file one reconstruction is asked for.
pub(crate) const BLOCK: u64 = 1 << 30;

/// Reconstructions that are asked for at a time, where a file is taken in many small parts.
pub(crate) const RESOLVING: usize = 8;

/// Who asks about which file.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) cas: &'a Cas,
    pub(crate) hash: MerkleHash,
    pub(crate) size: u64,
    pub(crate) call: &'a Call,
    pub(crate) counters: &'a Counters,
}

impl<'a> Resolver<'a> {
    /// Asks on behalf of a file's task.
    pub(crate) fn new(cas: &'a Cas, hash: MerkleHash, task: &'a FileTask) -> Self {
        let counters = task.progress.counters();
        Self { cas, hash, size: task.entry.size, call: &task.call, counters }
    }

    /// All terms of the file, in order.
    pub(crate) async fn terms(&self) -> Result<Vec<Term>> {
        self.terms_of(0..self.size).await
    }

    /// The terms that hold a part of the file, cut to the chunks that do.
    pub(crate) async fn terms_of(&self, part: Range<u64>) -> Result<Vec<Term>> {
        let mut terms: Vec<Term> = Vec::new();
        let mut at = part.start;
        while at < part.end {
            let block = at..part.end.min(at.saturating_add(BLOCK));
            terms.extend(block::terms(&self.resolve(&block, &block).await?));
            at = terms.last().map_or(block.end, Term::end).max(block.end);
        }
        Ok(terms)
    }

    /// The fetches for these gaps up to `end`, and the terms of the file from the first gap on to where
    /// that ends: where a chunk does, so that no chunk is in two blocks. The gaps are asked about
    /// together, since a xorb may have something for many of them.
    pub(crate) async fn resolve_gaps(
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
    pub(crate) fn resolve_parts(
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
    pub(crate) async fn resolve(
        &self,
        wanted: &Range<u64>,
        within: &Range<u64>,
    ) -> Result<Vec<Fetch>> {
        let questions = &self.call.scheduler.questions;
        let turn = questions.turn(self.counters, 1, "its turn to ask where content is").await?;
        let answer = self.cas.reconstruction(&self.hash, wanted, self.counters).await?;
        drop(turn);
        block::fetches(&answer, wanted, within, self.size)
    }
}

/// Takes the gaps of the next block, the last of which may go on behind it, and says where the block
/// ends.
pub(crate) fn next_block(gaps: &mut VecDeque<Range<u64>>) -> Option<(Vec<Range<u64>>, u64)> {
    let end = gaps.front()?.start.saturating_add(BLOCK);
    let count = gaps.partition_point(|gap| gap.start < end);
    Some((gaps.drain(..count).collect(), end))
}

/// Puts back what is left of the last gap of a block that was to end at `end`, and whose terms are
/// these.
pub(crate) fn put_back(
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
pub(crate) fn hull(ranges: &[Range<u64>]) -> Range<u64> {
    ranges.first().map_or(0, |first| first.start)..ranges.last().map_or(0, |last| last.end)
}
