//! Takes up the beginning of a file that came without a journal: a partial file whose journal is
//! lost or unreadable, or one that `huggingface_hub` was killed over.
//!
//! A file's chunks follow from its content, and those of its beginning from its beginning. So what
//! is there is cut and hashed as an upload would do it. Whether it was right shows in the end, when
//! the whole file is verified; if it wasn't (one with holes in it, say), it is fetched after all.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use xet_data::deduplication::Chunker;

use super::file::XetFile;
use crate::model::error::{Error, Result};
use crate::sys::open::Wary;

/// Bytes that are read at a time.
const STEP: usize = 1 << 20;

/// Enters the chunks of what can be found. Only the beginning of a file can be taken up, and its
/// last, incomplete chunk is left.
pub(super) async fn take(file: &Arc<XetFile>) -> Result<()> {
    let target = Arc::clone(file);
    let taken = move || {
        let job = target.job();
        let _waiting = job.at_disk("to read again what is here of");
        if job.len()? > 0 {
            let opened = File::open(job.path());
            let mut partial = opened.map_err(|e| Error::io("open", job.path(), e))?;
            return cut(&target, &mut partial, true);
        }
        let Some(leftover) = job.leftover() else { return Ok(()) };
        // It isn't ours, so whatever is wrong with it is no reason to fail.
        match OpenOptions::new().read(true).never_follow().open(leftover) {
            Ok(mut opened) => {
                let path = leftover.display();
                tracing::info!(file = %job.entry.path, %path, "taking up another client's download");
                cut(&target, &mut opened, false)
            }
            Err(error) => {
                tracing::debug!(path = %leftover.display(), %error, "can't take up a download");
                Ok(())
            }
        }
    };
    let what = format!("the disk to read again what is here of {}", file.job().entry.path);
    file.job().call.blocking(what, taken).await
}

fn cut(file: &XetFile, source: &mut File, in_place: bool) -> Result<()> {
    let job = file.job();
    let mut chunker = Chunker::default();
    let mut records = Vec::new();
    let (mut read, mut offset) = (0, 0);
    while read < job.entry.size {
        if job.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        job.show_life();
        let mut buffer = vec![0; STEP];
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => {
                tracing::warn!(file = %job.entry.path, %error, "can't read an interrupted download");
                break;
            }
        };
        buffer.truncate(n);
        read += n as u64;
        for chunk in chunker.next_block_bytes(&Bytes::from(buffer), read == job.entry.size) {
            let len = chunk.data.len() as u64;
            let record = if in_place {
                file.claim(offset, chunk.hash, chunk.data.len())?
            } else {
                file.place(offset, chunk.hash, &chunk.data)?
            };
            if in_place {
                job.progress.advance(len);
            }
            job.progress.reused(len);
            records.extend(record);
            offset += len;
        }
        file.enter(&mut records)?;
    }
    if offset > 0 {
        tracing::info!(file = %job.entry.path, resumed = offset, "resuming without a journal");
        // It was fetched by who knows whom.
        file.found(0..offset);
        file.guessed();
    }
    Ok(())
}
