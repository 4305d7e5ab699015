//! Questions to the CAS about one file: where its bytes are, and with that, what of them this machine
//! has.

use std::ops::Range;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use super::copies::{Copy, CopyPlan, Unplaced};
use super::local::Local;
use crate::call::Call;
use crate::call::progress::Counters;
use crate::cas::Cas;
use crate::cas::block::{self, Fetch};
use crate::model::error::Result;
use crate::reuse::Term;

/// How much of a file one reconstruction is asked for.
pub(super) const BLOCK: u64 = 1 << 30;

/// Reconstructions that are asked for at a time, where a file is taken in many small parts.
pub(super) const RESOLVING: usize = 8;

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
        let mut terms: Vec<Term> = Vec::new();
        let mut at = 0;
        while at < self.size {
            let block = at..self.size.min(at.saturating_add(BLOCK));
            terms.extend(block::terms(&self.resolve(&block, &block).await?));
            at = terms.last().map_or(block.end, Term::end).max(block.end);
        }
        Ok(terms)
    }

    /// The plan for a part of the file that is missing.
    pub(super) async fn probe(&self, local: &Arc<Local>, gap: Range<u64>) -> Result<CopyPlan> {
        let mut whole = CopyPlan::default();
        let mut at = gap.start;
        while at < gap.end {
            let block = at..gap.end.min(at.saturating_add(BLOCK));
            let terms = block::terms(&self.resolve(&block, &block).await?);
            at = terms.last().map_or(block.end, Term::end).max(block.end);
            let plan = self.plan(local, terms, block.start..gap.end).await?;
            whole.copies.extend(plan.copies);
            whole.remote.extend(plan.remote);
        }
        Ok(whole)
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
        within: Range<u64>,
    ) -> Result<CopyPlan> {
        let local = Arc::clone(local);
        let mut plan = self
            .call
            .blocking("a look into the reuse index", move || Ok(local.plan(terms, &within)))
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
