//! Xet storage: it has all xorbs, so it's the last one to be asked.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;

use super::fetching::Fetcher;
use super::{Block, ChunkSink, ChunkSource};
use crate::call::tasks::Tasks;
use crate::cas::resolve::hull;
use crate::cas::{Cas, parts};
use crate::model::error::Result;

/// The storage behind the CAS.
pub(crate) struct Storage(pub(crate) Arc<Cas>);

#[async_trait]
impl<S: ChunkSink> ChunkSource<S> for Storage {
    /// Begins each fetch as there is a connection for it.
    async fn begin(self: Arc<Self>, block: &mut Block<'_, S>, running: &mut Tasks) -> Result<()> {
        let fetcher = Fetcher { sink: Arc::clone(block.sink), cas: Arc::clone(&self.0) };
        let wanted = std::mem::take(&mut block.wanted);
        let selected = parts::select(std::mem::take(&mut block.fetches), &wanted);
        for fetch in selected.fetches {
            fetcher.begin(fetch, running).await?;
        }
        let within = hull(block.gaps);
        // All answers first: a question must not stand still, its clock running, while a fetch waits
        // for its turn.
        let answers = block.resolver.resolve_parts(selected.parts, &within);
        let more = running.unless_failed(answers.try_collect::<Vec<_>>()).await?;
        for fetch in more.into_iter().flatten() {
            fetcher.begin(fetch, running).await?;
        }
        Ok(())
    }
}
