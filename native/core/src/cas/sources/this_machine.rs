//! What this machine has: other files that have the same chunks.
//!
//! The terms of what is wanted are looked up in the reuse index; what is found is copied, and hashed
//! like everything that is fetched.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use xet_core_structures::merklehash::MerkleHash;

use super::copies::{Copy, CopyPlan, Unplaced};
use super::copying::copy_chunks;
use super::pages::Pages;
use super::{Block, ChunkSink, ChunkSource};
use crate::call::scheduler::Permit;
use crate::call::tasks::Tasks;
use crate::cas::block;
use crate::cas::resolve::{RESOLVING, Resolver, next_block, put_back};
use crate::model::error::{Error, Result};
use crate::reuse::{Index, LocalCopy, Search, Term};

/// Questions about the places of one term's chunks, at most. Most runs take one.
const MOST_QUESTIONS: u32 = 64;

/// The reuse index, as it's asked for one file.
pub(crate) struct ThisMachine {
    search: Mutex<Search>,
    /// Whether anything was taken.
    taken: AtomicBool,
}

impl ThisMachine {
    pub(crate) fn new(index: &Arc<Index>) -> Self {
        Self { search: Mutex::new(index.search()), taken: AtomicBool::new(false) }
    }

    /// Whether another file on this machine has the same content.
    pub(crate) fn has_whole(&self, hash: &MerkleHash, size: u64) -> bool {
        self.search().whole(hash, size).is_some()
    }

    /// Another file on this machine that has the same content.
    pub(crate) fn whole(&self, hash: &MerkleHash, size: u64) -> Option<Pages> {
        self.search().whole(hash, size).map(|whole| Pages::new(whole, size))
    }

    /// Whether anything was taken from this machine.
    pub(crate) fn has_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }

    /// Files that were to be reused, and weren't what they should be.
    pub(crate) fn dropped(&self) -> u32 {
        self.search().dropped()
    }

    /// That file isn't what it was.
    pub(crate) fn drop_copy(&self, copy: &LocalCopy) {
        self.search().drop_copy(copy);
    }

    /// Brings a file of which nothing is there from another one with the same content, if there is
    /// one.
    pub(crate) async fn bring_whole<S: ChunkSink>(self: &Arc<Self>, sink: &Arc<S>) -> Result<()> {
        let task = sink.task();
        let size = task.entry.size;
        if sink.missing(0..size).first() != Some(&(0..size)) {
            return Ok(());
        }
        let mut running = Tasks::default();
        let begun = self.begin_pages(sink, size, &mut running).await;
        let done = if begun.is_ok() { running.all().await } else { begun };
        running.end().await;
        task.writers_ended().await;
        done
    }

    /// Begins to copy all of another file with the same content. A page isn't read before its turn.
    async fn begin_pages<S: ChunkSink>(
        self: &Arc<Self>,
        sink: &Arc<S>,
        size: u64,
        running: &mut Tasks,
    ) -> Result<()> {
        let (call, path) = (&sink.task().call, &sink.task().entry.path);
        let what: Arc<str> = format!("a look into the reuse index for {path}").into();
        let (this, hash) = (Arc::clone(self), sink.hash());
        let look = move || Ok(this.whole(&hash, size));
        let mut pages = call.blocking(Arc::clone(&what), look).await?;
        while let Some(mut left) = pages.take() {
            let turn = format!("its turn to copy chunks of {path}");
            let turn = running.turn(call, &call.scheduler.copies, turn).await?;
            let this = Arc::clone(self);
            let read = move || Ok((left.next(&this), left));
            let (copy, left) = call.blocking(Arc::clone(&what), read).await?;
            if let Some(copy) = copy {
                running.spawn(Arc::clone(self).copy_under(turn, Arc::clone(sink), copy));
                pages = Some(left);
            }
        }
        Ok(())
    }

    /// What a download of these gaps would copy, and fetch.
    pub(crate) async fn probe(
        self: &Arc<Self>,
        resolver: &Resolver<'_>,
        gaps: Vec<Range<u64>>,
    ) -> Result<CopyPlan> {
        let mut whole = CopyPlan::default();
        let mut gaps = VecDeque::from(gaps);
        while let Some((block, end)) = next_block(&mut gaps) {
            let (fetches, terms) = resolver.resolve_gaps(&block, end).await?;
            put_back(&mut gaps, &block, &terms, end);
            let plan = self.plan(resolver, block::terms(&fetches), &block).await?;
            whole.copies.extend(plan.copies);
            whole.remote.extend(plan.remote);
        }
        Ok(whole)
    }

    /// Where the parts of the file come from that these terms are about, as far as the index alone
    /// can say. `gaps` are what is missing, in order: nothing else may be written to.
    fn find(&self, terms: &[Term], gaps: &[Range<u64>]) -> CopyPlan {
        let mut search = self.search();
        CopyPlan::new(terms, |term| {
            let gap = gaps.partition_point(|gap| gap.end < term.end());
            let is_missing = gaps.get(gap).is_some_and(|gap| gap.start <= term.offset);
            if is_missing { search.runs(&term.xorb, &term.chunks) } else { Vec::new() }
        })
    }

    /// The same, also for what can only be placed with the help of the CAS.
    async fn plan(
        self: &Arc<Self>,
        resolver: &Resolver<'_>,
        terms: Vec<Term>,
        gaps: &[Range<u64>],
    ) -> Result<CopyPlan> {
        let (this, gaps) = (Arc::clone(self), gaps.to_vec());
        let look = move || Ok(this.find(&terms, &gaps));
        let mut plan = resolver.call.blocking("a look into the reuse index", look).await?;
        let mut placed = stream::iter(std::mem::take(&mut plan.unplaced))
            .map(|runs| locate(resolver, runs))
            .buffered(RESOLVING);
        while let Some(copies) = placed.next().await {
            plan.add(copies?);
        }
        Ok(plan)
    }

    /// Begins copies, which run as their turn comes.
    fn begin_copies<S: ChunkSink>(
        self: &Arc<Self>,
        sink: &Arc<S>,
        copies: Vec<Copy>,
        running: &mut Tasks,
    ) {
        for copy in copies {
            let (this, sink) = (Arc::clone(self), Arc::clone(sink));
            running.spawn(async move {
                let (call, path) = (&sink.task().call, &sink.task().entry.path);
                let turn = format!("its turn to copy chunks of {path}");
                let turn = call.turn(&call.scheduler.copies, turn).await?;
                this.copy_under(turn, Arc::clone(&sink), copy).await
            });
        }
    }

    async fn copy_under<S: ChunkSink>(
        self: Arc<Self>,
        turn: Permit,
        sink: Arc<S>,
        copy: Copy,
    ) -> Result<()> {
        let target = Arc::clone(&sink);
        let what = format!("the disk to copy chunks of {}", sink.task().entry.path);
        let ended = sink.task().spawn_writer(what, move || self.copy(&copy, &*target)).await;
        drop(turn);
        ended.unwrap_or_else(|_| Err(Error::internal("a copy panicked")))
    }

    /// Copies chunks. Those whose hash is wrong stay missing, and so do all of them if the source
    /// isn't what it was.
    fn copy<S: ChunkSink>(&self, copy: &Copy, sink: &S) -> Result<()> {
        self.taken.store(true, Ordering::Relaxed);
        // The index says that these are the right chunks; the hash of the whole has to confirm it.
        sink.doubt(copy.range());
        let is_good = match copy.local.open() {
            Ok(source) => copy_chunks(copy, source, sink)?,
            Err(error) => {
                let path = copy.local.path().display();
                tracing::info!(%path, %error, "a file that was to be reused isn't");
                false
            }
        };
        if !is_good {
            self.drop_copy(&copy.local);
        }
        Ok(())
    }

    pub(super) fn search(&self) -> MutexGuard<'_, Search> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: ChunkSink> ChunkSource<S> for ThisMachine {
    async fn begin(self: Arc<Self>, block: &mut Block<'_, S>, running: &mut Tasks) -> Result<()> {
        let terms = block::terms(&block.fetches);
        let plan = self.plan(&block.resolver, terms, block.gaps).await?;
        block.wanted = plan.remote;
        self.begin_copies(block.sink, plan.copies, running);
        Ok(())
    }
}

/// Finds out where runs of a xorb go that are in the middle of a term: where its chunks begin is in
/// the answers about parts of it.
async fn locate(resolver: &Resolver<'_>, mut runs: Unplaced) -> Result<Vec<Copy>> {
    let mut copies = Vec::new();
    let mut overshot = 0;
    for _ in 0..MOST_QUESTIONS {
        let Some(guess) = runs.guess(overshot) else { break };
        let part = runs.at..guess;
        let terms = block::terms(&resolver.resolve(&part, &part).await?);
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
