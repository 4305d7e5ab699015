//! Brings in the chunks of a Xet file from the xorbs that hold them.
//!
//! A file is taken in blocks. A block's reconstruction names what there is to fetch, and each of the
//! sources begins to bring what it has of that; all of it runs side by side as far as the client's
//! connections go.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::file::XetFile;
use super::local::Local;
use super::{Sources, is_of_the_servers};
use crate::call::tasks::Tasks;
use crate::cas::Cas;
use crate::cas::resolve::{Resolver, next_block, put_back};
use crate::cas::sources::{Block, ChunkSink, ChunkSource, Publication, Storage};
use crate::model::error::Result;
use crate::reuse::Term;

/// In the order in which they are asked.
type Chain = Vec<Arc<dyn ChunkSource<XetFile>>>;

/// Brings in all that is missing. If Xet's servers fail, what has begun is brought to its end
/// first: it needn't come another way.
pub(super) async fn bring(
    file: &Arc<XetFile>,
    cas: &Arc<Cas>,
    sources: &Sources<'_>,
) -> Result<()> {
    let size = file.job().task.entry.size;
    let publication =
        sources.sharing.map(|sharing| Publication::new(sharing.tier(), file.hash(), size));
    let storage = || -> Arc<dyn ChunkSource<XetFile>> {
        Arc::new(match &publication {
            Some(publication) => Storage::shared(cas, Arc::clone(publication)),
            None => Storage::alone(cas),
        })
    };
    if let Some(local) = sources.local {
        let mut chain = Chain::new();
        if let Some(source) = local.source() {
            chain.push(Arc::clone(source) as _);
        }
        chain.push(storage());
        Round { file, cas, chain, local: Some(local) }.run().await?;
        // What is still missing, files on this machine should have given and didn't.
    }
    let chain: Chain = vec![storage()];
    Round { file, cas, chain, local: None }.run().await
}

/// What is begun to fill the gaps, once.
struct Round<'a> {
    file: &'a Arc<XetFile>,
    cas: &'a Arc<Cas>,
    chain: Chain,
    /// What learns of the file's terms.
    local: Option<&'a Arc<Local>>,
}

impl Round<'_> {
    async fn run(&self) -> Result<()> {
        let mut running = Tasks::default();
        let begun = self.begin_all(&mut running).await;
        self.end(running, begun).await
    }

    /// Begins to fill all gaps, one block after the other as the sources get on, until one fails.
    async fn begin_all(&self, running: &mut Tasks) -> Result<()> {
        let mut gaps = VecDeque::from(self.file.gaps());
        while let Some((block, end)) = next_block(&mut gaps) {
            let terms = self.begin_block(&block, end, running).await?;
            put_back(&mut gaps, &block, &terms, end);
        }
        Ok(())
    }

    /// Begins what these gaps lack up to `end`, and returns the terms up to there.
    async fn begin_block(
        &self,
        gaps: &[Range<u64>],
        end: u64,
        running: &mut Tasks,
    ) -> Result<Vec<Term>> {
        let resolver = Resolver::new(self.cas, self.file.hash(), self.file.task());
        let (fetches, terms) = running.unless_failed(resolver.resolve_gaps(gaps, end)).await?;
        if let Some(local) = self.local {
            local.learn(terms.clone());
        }
        let mut block = Block::new(self.file, resolver, gaps, fetches);
        for source in &self.chain {
            Arc::clone(source).begin(&mut block, running).await?;
        }
        Ok(terms)
    }

    /// Waits for what is running.
    async fn end(&self, mut running: Tasks, mut done: Result<()>) -> Result<()> {
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
        self.file.stop_reading();
        // A writer of an aborted fetch must not touch the file while something else does.
        self.file.task().writers_ended().await;
        done
    }
}
