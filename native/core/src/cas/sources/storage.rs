//! Xet storage: it has all xorbs, so it's the last one to be asked.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;

use super::fetcher::Fetcher;
use super::publication::Publication;
use super::{Block, ChunkSink, ChunkSource};
use crate::call::tasks::Tasks;
use crate::cas::resolve::hull;
use crate::cas::{Cas, parts};
use crate::model::error::Result;

/// The storage behind the CAS, and before it what other nodes have fetched from there.
pub(crate) struct Storage {
    cas: Arc<Cas>,
    /// `None`: nothing is shared.
    publication: Option<Arc<Publication>>,
}

impl Storage {
    /// Asks nobody but storage.
    pub(crate) fn alone(cas: &Arc<Cas>) -> Self {
        Self { cas: Arc::clone(cas), publication: None }
    }

    /// Takes what other nodes have, and gives them what it fetches.
    pub(crate) fn shared(cas: &Arc<Cas>, publication: Arc<Publication>) -> Self {
        Self { cas: Arc::clone(cas), publication: Some(publication) }
    }
}

#[async_trait]
impl<S: ChunkSink> ChunkSource<S> for Storage {
    /// Begins each fetch as there is a connection for it.
    async fn begin(self: Arc<Self>, block: &mut Block<'_, S>, running: &mut Tasks) -> Result<()> {
        let (cas, publication) = (Arc::clone(&self.cas), self.publication.clone());
        let fetcher = Fetcher { sink: Arc::clone(block.sink), cas, publication };
        let wanted = std::mem::take(&mut block.wanted);
        let mut selected = parts::select(std::mem::take(&mut block.fetches), &wanted);
        if self.publication.is_some() {
            // Nodes that come at the same time begin at different places, and find what others have brought.
            fastrand::shuffle(&mut selected.fetches);
        }
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
