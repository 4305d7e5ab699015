//! Where the chunks of xorbs can be had, and where they go.
//!
//! What a file lacks is wanted from one source after the other: each begins to bring what it has, and
//! leaves the rest to those behind it. A source knows neither the others nor what becomes of the
//! chunks, and all that it brings is hashed.

pub(crate) mod copies;
mod copying;
mod fetcher;
mod fetching;
mod pages;
mod publication;
mod receiving;
mod recorder;
mod sink;
mod storage;
mod this_machine;
mod writer;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::block::{self, Fetch};
use super::parts::joined;
use super::resolve::Resolver;
use crate::call::tasks::Tasks;
use crate::model::error::Result;
use crate::reuse::Term;

pub(crate) use super::chunker::PlacedChunk;
pub(crate) use pages::Pages;
pub(crate) use publication::Publication;
pub(crate) use sink::{ChunkSink, LooseChunk};
pub(crate) use storage::Storage;
pub(crate) use this_machine::ThisMachine;

/// Somewhere that chunks of xorbs can be had.
#[async_trait]
pub(crate) trait ChunkSource<S: ChunkSink>: Send + Sync {
    /// Begins to bring what this source has of what is wanted of `block`, and takes that from it. May
    /// wait for its turn meanwhile; what was begun goes on in `running`. Chunks that turn out not to
    /// be there, or to be others, stay missing: that is no failure.
    async fn begin(self: Arc<Self>, block: &mut Block<'_, S>, running: &mut Tasks) -> Result<()>;
}

/// A part of a file that is to be brought in.
pub(crate) struct Block<'a, S> {
    pub(crate) sink: &'a Arc<S>,
    /// Answers questions about the file.
    pub(crate) resolver: Resolver<'a>,
    /// What the file lacks of this part, in order: nothing else is to be written to.
    pub(crate) gaps: &'a [Range<u64>],
    /// What storage would be asked for if nobody else had anything.
    pub(crate) fetches: Vec<Fetch>,
    /// What no source has taken on yet, in order, neighbours joined. Begins and ends where chunks do.
    pub(crate) wanted: Vec<Range<u64>>,
}

impl<'a, S> Block<'a, S> {
    /// All that these fetches would bring is wanted.
    pub(crate) fn new(
        sink: &'a Arc<S>,
        resolver: Resolver<'a>,
        gaps: &'a [Range<u64>],
        fetches: Vec<Fetch>,
    ) -> Self {
        let wanted = covered(&block::terms(&fetches));
        Self { sink, resolver, gaps, fetches, wanted }
    }
}

/// What these terms, which are in order and may overlap, are of the file.
fn covered(terms: &[Term]) -> Vec<Range<u64>> {
    joined(terms.iter().map(|term| term.offset..term.end()), 0)
}

#[cfg(test)]
mod tests {
    use xet_core_structures::merklehash::compute_data_hash;

    use super::*;

    /// Terms that touch or overlap are wanted as one, so that storage is asked for them as they are.
    #[test]
    fn what_is_wanted_is_all_that_the_terms_cover() {
        let term = |range: Range<u64>| Term {
            xorb: compute_data_hash(b"xorb"),
            chunks: 0..1,
            offset: range.start,
            len: range.end - range.start,
        };
        let terms = [0..10, 10..20, 15..18, 16..30, 40..50].map(term);
        assert_eq!(covered(&terms), [0..30, 40..50]);
        assert!(covered(&[]).is_empty());
    }
}
