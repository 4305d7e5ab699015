//! Whose chunks are fetched, from whom, and for whom besides.

use std::ops::Range;
use std::sync::Arc;

use super::ChunkSink;
use super::publication::Publication;
use crate::cas::block::Fetch;
use crate::cas::{Cas, Opened};
use crate::model::error::Result;
use crate::tier::{Claim, Lease};

/// Fetches parts of one file from storage.
pub(super) struct Fetcher<S> {
    pub(super) sink: Arc<S>,
    pub(super) cas: Arc<Cas>,
    /// What other nodes have, and are to have, of the file; `None`: nothing is shared.
    pub(super) publication: Option<Arc<Publication>>,
}

impl<S> Clone for Fetcher<S> {
    fn clone(&self) -> Self {
        let (sink, cas) = (Arc::clone(&self.sink), Arc::clone(&self.cas));
        Self { sink, cas, publication: self.publication.clone() }
    }
}

impl<S: ChunkSink> Fetcher<S> {
    /// Whether this node is to fetch, of all that want the same.
    pub(super) async fn claim(&self, fetch: &Fetch, named: &Range<u32>) -> Claim {
        let Some(sharing) = self.cas.sharing() else { return Claim::Unknown };
        let counters = self.sink.task().progress.counters();
        sharing.tier().claim(&fetch.xorb, named, counters).await
    }

    /// Has the lease last until all is published that is fetched under it.
    pub(super) fn lend(&self, fetch: &Fetch, named: &Range<u32>, lease: Lease) -> Arc<Lease> {
        let lease = Arc::new(lease);
        if let Some(publication) = &self.publication {
            publication.lend(fetch.xorb, named.clone(), &lease);
        }
        lease
    }

    /// Opens these bytes of a fetch's xorb.
    pub(super) async fn open(&self, fetch: &Fetch, bytes: (u64, u64)) -> Result<Opened> {
        self.cas.open(fetch, bytes, &self.sink.task().call.counters.waits).await
    }
}
