//! Brings in the chunks of a Xet file from the xorbs that hold them.
//!
//! A file is taken in blocks; a block's reconstruction names the fetches, and fetches ([`fetching`])
//! run side by side as far as the client's connections go.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::fetching::Bringer;
use super::file::XetFile;
use super::local::{self, Local};
use super::parts::{self, Part};
use super::resolve::{hull, next_block, put_back};
use super::{Sources, is_of_the_servers};
use crate::call::scheduler::SMALL;
use crate::call::tasks::Tasks;
use crate::cas::Cas;
use crate::cas::block::{self, Fetch};
use crate::model::error::Result;
use crate::reuse::Term;

/// Brings in all that is missing. If Xet's servers fail, what has begun is brought to its end
/// first: it needn't come another way.
pub(super) async fn bring(
    file: &Arc<XetFile>,
    cas: &Arc<Cas>,
    sources: &Sources<'_>,
) -> Result<()> {
    let bringer = Bringer { file: Arc::clone(file), cas: Arc::clone(cas) };
    if let Some(local) = sources.local {
        run(&bringer, Some(local)).await?;
        // What is still missing, files on this machine should have given and didn't.
    }
    run(&bringer, None).await
}

/// One round for all gaps.
async fn run(bringer: &Bringer, local: Option<&Arc<Local>>) -> Result<()> {
    let mut running = Tasks::default();
    let mut round = Round { bringer, local, running: &mut running };
    let begun = round.begin_all().await;
    end(bringer, running, begun).await
}

/// Waits for what is running.
async fn end(bringer: &Bringer, mut running: Tasks, mut done: Result<()>) -> Result<()> {
    while done.as_ref().err().is_none_or(is_of_the_servers) {
        let Some(ended) = running.next().await else { return done };
        // What explains more counts more; of what explains as much, what came first.
        if let Err(error) = ended {
            done = match done {
                Err(first) if first.outweighs(&error) => Err(first),
                _ => Err(error),
            };
        }
    }
    running.end().await;
    // Nor must the error wait until all that is here has been read.
    bringer.file.stop_reading();
    // A writer of an aborted fetch must not touch the file while something else does.
    bringer.file.job().writers_ended().await;
    done
}

/// What is begun to fill the gaps, once.
struct Round<'a> {
    bringer: &'a Bringer,
    local: Option<&'a Arc<Local>>,
    running: &'a mut Tasks,
}

impl Round<'_> {
    /// Begins the copies and fetches of all gaps, one block after the other as connections are free,
    /// until one fails.
    async fn begin_all(&mut self) -> Result<()> {
        let mut gaps = VecDeque::from(self.bringer.file.gaps());
        while let Some((block, end)) = next_block(&mut gaps) {
            let terms = self.begin_block(&block, end).await?;
            put_back(&mut gaps, &block, &terms, end);
        }
        Ok(())
    }

    /// Begins what these gaps lack up to `end`, and returns the terms up to there.
    async fn begin_block(&mut self, gaps: &[Range<u64>], end: u64) -> Result<Vec<Term>> {
        let asked = self.bringer.ask();
        let (fetches, terms) = self.running.unless_failed(asked.resolve_gaps(gaps, end)).await?;
        if let Some(local) = self.local {
            local.learn(terms.clone());
        }
        let left = self.begin(fetches, gaps).await?;
        let (within, asking) = (hull(gaps), self.bringer.ask());
        // All answers first: a question must not stand still, its clock running, while a fetch waits
        // for its turn.
        let answers = asking.resolve_parts(left, &within).try_collect::<Vec<_>>();
        for fetch in self.running.unless_failed(answers).await?.into_iter().flatten() {
            self.bringer.begin(fetch, self.running).await?;
        }
        Ok(terms)
    }

    /// Begins the copies of what this machine has, and the fetches of the rest. Returns what is less
    /// than these fetches would bring.
    async fn begin(&mut self, fetches: Vec<Fetch>, gaps: &[Range<u64>]) -> Result<Vec<Part>> {
        let (fetches, left) = match self.local {
            None => (fetches, Vec::new()),
            Some(local) => {
                let terms = block::terms(&fetches);
                let plan = self.bringer.ask().plan(local, terms, gaps).await?;
                let selected = parts::select(fetches, &plan.remote);
                local::begin(local, &self.bringer.file, plan.copies, self.running);
                (selected.fetches, selected.parts)
            }
        };
        for fetch in fetches {
            self.bringer.begin(fetch, self.running).await?;
        }
        Ok(left)
    }
}

impl Bringer {
    /// Begins a fetch as soon as there is a connection for it.
    async fn begin(&self, fetch: Fetch, running: &mut Tasks) -> Result<()> {
        let call = &self.file.job().call;
        let is_small = fetch.body_len() <= SMALL;
        let gate = if is_small { &call.scheduler.parts } else { &call.scheduler.streams };
        let what = format!("its turn to fetch from xorb {}", fetch.xorb.hex());
        // What a small file may have in flight goes with its own permit.
        let is_admitted = self.file.job().entry.size <= SMALL;
        let connection =
            if is_admitted { None } else { Some(running.turn(call, gate, what).await?) };
        let bringer = self.clone();
        running.spawn(async move {
            let result = bringer.bring(fetch).await;
            drop(connection);
            result
        });
        Ok(())
    }
}
