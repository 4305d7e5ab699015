//! Fills the gaps of a Xet file over plain HTTP.
//!
//! A gap begins and ends where chunks do, so the bytes that fill it are cut into the chunks that an
//! upload would make of them today. They go where Xet's would have gone, ledger and journal included.
//! Whether the file was published with the same chunks, its Merkle hash shows; if it wasn't, its
//! SHA-256 vouches for the content.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use xet_data::deduplication::Chunker;

use super::super::http::{self, Source};
use super::file::XetFile;
use crate::cas::sources::{ChunkSink, PlacedChunk};
use crate::model::error::{Error, Result};

/// Brings in all that is missing.
pub(super) async fn bring(file: &Arc<XetFile>, source: &Source<'_>) -> Result<()> {
    for gap in file.gaps() {
        file.doubt(gap.clone());
        file.guessed();
        let (writer, filled) = (Arc::clone(file), gap.clone());
        http::transfer(file.job(), source, gap, move |queue| fill(&writer, &filled, queue)).await?;
    }
    Ok(())
}

/// Cuts what comes into chunks, and writes them.
fn fill(file: &XetFile, gap: &Range<u64>, mut queue: mpsc::Receiver<Bytes>) -> Result<()> {
    let mut chunker = Chunker::default();
    let mut records = Vec::new();
    let (mut received, mut offset) = (gap.start, gap.start);
    while let Some(piece) = queue.blocking_recv() {
        if file.job().task.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        received += piece.len() as u64;
        for chunk in chunker.next_block_bytes(&piece, received == gap.end) {
            let placed = file.place(offset, chunk.hash, &chunk.data)?;
            records.extend(placed.map(PlacedChunk::guessed));
            offset += chunk.data.len() as u64;
        }
        file.enter(&mut records)?;
    }
    Ok(())
}
