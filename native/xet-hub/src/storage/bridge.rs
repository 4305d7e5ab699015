//! Files of the CAS as plain bytes, for clients that don't speak Xet.

use std::fs::File;
use std::io::{self, BufReader};

use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;

use super::send;
use crate::app::App;
use crate::errors::ApiError;

/// Chunks that are decompressed at once: about 4 MiB.
const CHUNKS: u32 = 64;

/// Pieces that may wait for a slow client.
const QUEUE: usize = 4;

/// Answers a request for a file of the CAS.
pub(super) async fn file(
    app: &std::sync::Arc<App>,
    hash: MerkleHash,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let info = app.cas.file_info(&hash).await?;
    let total = info.file_size();
    super::plain_limit(app, parts, total)?;
    send::respond(total, &hash.hex(), &parts.headers, |first, last| {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (app, info) = (std::sync::Arc::clone(app), info.clone());
        tokio::task::spawn_blocking(move || {
            // A closed channel means that the client is gone, which is no error.
            if let Err(error) = write(&app, &info, first, last, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        stream::unfold(
            receiver,
            |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
        )
        .boxed()
    })
}

/// Sends the bytes from `first` to `last` of a file, term by term.
fn write(
    app: &App,
    info: &MDBFileInfo,
    first: u64,
    last: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut position = 0;
    for term in &info.segments {
        let length = u64::from(term.unpacked_segment_bytes);
        if position + length <= first {
            position += length;
            continue;
        }
        let xorb = app.cas.footer(&term.xorb_hash).map_err(io::Error::other)?;
        let mut reader = BufReader::new(File::open(app.cas.xorb_path(&term.xorb_hash))?);
        let mut chunk = term.chunk_index_start;
        while chunk < term.chunk_index_end {
            if position > last {
                return Ok(());
            }
            let end = (chunk + CHUNKS).min(term.chunk_index_end);
            let size = xorb.uncompressed_range_length(chunk, end).map_err(io::Error::other)?;
            let next = position + u64::from(size);
            if next > first {
                let bytes = xorb
                    .get_bytes_by_chunk_range(&mut reader, chunk, end)
                    .map_err(io::Error::other)?;
                let from =
                    usize::try_from(first.saturating_sub(position)).map_err(io::Error::other)?;
                let to = (last + 1).min(next) - position;
                let to = usize::try_from(to).map_err(io::Error::other)?;
                let piece = Bytes::from(bytes).slice(from..to);
                if sender.blocking_send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
            (position, chunk) = (next, end);
        }
    }
    Ok(())
}
