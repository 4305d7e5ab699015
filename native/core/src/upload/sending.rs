//! Content as connections take it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use crate::call::progress::Counters;
use crate::model::error::Result;

/// What is handed over at a time. A connection that takes one every few seconds is alive, and is to be
/// seen to be.
const SLICE: usize = 128 << 10;

/// `blocks` in slices, each of which is counted as sent when it is taken.
pub(super) fn counted(
    blocks: impl Stream<Item = Result<Bytes>> + Send + 'static,
    counters: Arc<Counters>,
) -> BoxStream<'static, Result<Bytes>> {
    let slices = |block: Bytes| {
        let starts = (0..block.len()).step_by(SLICE);
        stream::iter(
            starts.map(move |start| Ok(block.slice(start..block.len().min(start + SLICE)))),
        )
    };
    blocks
        .map_ok(slices)
        .try_flatten()
        .inspect_ok(move |slice| counters.add_sent(slice.len() as u64))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken is counted, slice by slice, and nothing else; in slices it is the same content.
    #[tokio::test]
    async fn slices_are_counted_as_they_are_taken() {
        let counters = Arc::new(Counters::default());
        let blocks = [vec![1_u8; SLICE * 2 + 1], Vec::new(), vec![2; 3]].map(Bytes::from);
        let whole = blocks.concat();
        let blocks = stream::iter(blocks.map(Ok));
        let mut slices = counted(blocks, Arc::clone(&counters));
        let mut taken = Vec::new();
        while let Some(slice) = slices.try_next().await.unwrap() {
            assert!(slice.len() <= SLICE);
            taken.extend_from_slice(&slice);
            assert_eq!(counters.snapshot().bytes_network, taken.len() as u64);
        }
        assert!(taken == whole);
    }
}
