//! Follows the parts of a file as they come, from its beginning on: what takes a file in order, such as a
//! hash, reads them again where they stand, and holds none of them back.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Source, parts};
use crate::download::job::Job;
use crate::download::received::Received;
use crate::model::error::{Error, Kind, Result};

/// Bytes that are read at a time.
const STEP: u64 = 1 << 20;

/// Bytes that are read by one job, at most: others wait for its thread.
const MOST: u64 = 16 << 20;

/// Brings in what `received` lacks of `within`, and gives all of it in order to `take`, on threads that may
/// block, with what it keeps in mind meanwhile. When this returns, nobody writes to the partial file any more.
pub(in crate::download) async fn bring<T: Send + 'static>(
    job: &Job,
    source: &Source<'_>,
    received: &Arc<Received>,
    within: Range<u64>,
    mind: T,
    take: fn(&mut T, &Bytes) -> Result<()>,
) -> Result<T> {
    let bringing = parts::bring(job, source, received, within.clone());
    let done = tokio::try_join!(bringing, follow(job, received, within, mind, take));
    if let Err(error) = &done {
        // Those that were ended may have had a piece to write.
        job.task.writers_ended().await;
        if error.kind() == Kind::FilesRemoved {
            super::restart(job).await?;
        }
    }
    done.map(|((), mind)| mind)
}

async fn follow<T: Send + 'static>(
    job: &Job,
    received: &Arc<Received>,
    within: Range<u64>,
    mut mind: T,
    take: fn(&mut T, &Bytes) -> Result<()>,
) -> Result<T> {
    let what: Arc<str> =
        format!("the disk to read again what came of {}", job.task.entry.path).into();
    let mut at = within.start;
    while at < within.end {
        let end = received.beyond(at, STEP, within.end).await.min(at + MOST);
        let reader = job.clone();
        let read = move || {
            let mut start = at;
            while start < end {
                reader.check_alive()?;
                let len = STEP.min(end - start);
                let mut buffer = vec![0; usize::try_from(len).map_err(Error::internal)?];
                if !reader.partial.read_at(&mut buffer, start)? {
                    return Err(reader.was_written_to());
                }
                take(&mut mind, &Bytes::from(buffer))?;
                start += len;
            }
            Ok(mind)
        };
        mind = job.task.write_now(Arc::clone(&what), read).await?;
        at = end;
    }
    Ok(mind)
}
