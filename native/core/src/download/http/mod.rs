//! Fetches a file, or a range of it, over plain HTTP: git and LFS files, and what of Xet files can't
//! come through Xet.

pub(super) mod follow;
mod known;
pub(super) mod parts;
mod source;
mod stream;
mod width;

use std::fs::OpenOptions;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

pub(crate) use self::known::Known;
pub(crate) use self::source::Source;
use self::source::Tries;
pub(super) use self::stream::transfer;
use super::job::Job;
use super::ranges::Ranges;
use super::received::Received;
use crate::model::content::ContentHasher;
use crate::model::error::{Error, Kind, Result};
use crate::sys::open::Wary;

/// Fetches what `job`'s partial file doesn't hold yet, and checks the SHA-256 or git blob id of the
/// whole.
pub(crate) async fn fetch(job: &Job, source: &Source<'_>) -> Result<()> {
    if job.task.entry.size > parts::LARGE {
        return fetch_large(job, source).await;
    }
    let beginning = job.clone();
    let what = format!("the disk to read again what is here of {}", job.task.entry.path);
    let (hasher, resumed) = job.task.call.blocking(what, move || resume(&beginning)).await?;
    match fetch_from(job, source, hasher, resumed).await {
        // The damage may be in what an earlier attempt has left.
        Err(error) if error.kind() == Kind::ChecksumMismatch && resumed > 0 => {
            tracing::warn!(file = %job.task.entry.path, "the resumed file is damaged; starting over");
            job.task.progress.counters().add_retry();
            restart(job).await?;
            fetch_from(job, source, ContentHasher::new(&job.task.entry), 0).await
        }
        done => done,
    }
}

/// The same of a file that comes in parts.
async fn fetch_large(job: &Job, source: &Source<'_>) -> Result<()> {
    // What another client has left stays there, and is as damaged the next time.
    let mut takes_leftover = true;
    loop {
        let opened = job.clone();
        let what = format!("a look at what is here of {}", job.task.entry.path);
        let open = move || {
            let _waiting = opened.task.at_disk("to take what is here of");
            if takes_leftover && opened.partial.len()? == 0 {
                take_leftover(&opened)?;
            }
            Received::open(&opened, true, &Ranges::default())
        };
        let received = Arc::new(job.task.call.blocking(what, open).await?);
        let whole = 0..job.task.entry.size;
        let resumed = received.reused(job, &whole);
        let hasher = ContentHasher::new(&job.task.entry);
        let take = |hasher: &mut ContentHasher, piece: &Bytes| {
            hasher.update(piece);
            Ok(())
        };
        let hasher = follow::bring(job, source, &received, whole, hasher, take).await?;
        let Err(error) = hasher.verify(&job.task.entry) else { return Ok(()) };
        drop(received);
        // What was hashed is what stands there, and not what came.
        let is_touched = job.partial.is_touched();
        restart(job).await?;
        if is_touched {
            return Err(job.was_written_to());
        }
        // The damage may be in what an earlier attempt has left.
        if resumed == 0 {
            return Err(error);
        }
        tracing::warn!(file = %job.task.entry.path, "the resumed file is damaged; starting over");
        job.task.progress.counters().add_retry();
        takes_leftover = false;
    }
}

/// Forgets all that was written, for another start.
pub(super) async fn restart(job: &Job) -> Result<()> {
    let restarted = job.clone();
    let what = format!("the disk to begin {} anew", job.task.entry.path);
    job.task.call.blocking(what, move || restarted.partial.restart()).await
}

/// The beginning of the file that an earlier attempt has left, hashed; it ends at the position
/// returned.
fn resume(job: &Job) -> Result<(ContentHasher, u64)> {
    let _waiting = job.task.at_disk("to read again what is here of");
    if job.partial.len()? == 0 {
        take_leftover(job)?;
    }
    let mut hasher = ContentHasher::new(&job.task.entry);
    let len = job.partial.len()?;
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    while position < len {
        job.check_alive()?;
        let take = buffer.len().min(usize::try_from(len - position).unwrap_or(usize::MAX));
        let piece = &mut buffer[..take];
        if !job.partial.read_at(piece, position)? {
            job.partial.restart()?;
            return Err(job.was_written_to());
        }
        hasher.update(piece);
        position += take as u64;
        job.task.progress.reused(take as u64);
        job.task.progress.reach(position);
    }
    if position > 0 {
        tracing::info!(file = %job.task.entry.path, resumed = position, "resuming");
    }
    Ok((hasher, position))
}

/// Copies the beginning of the file that another client was killed over. It isn't ours, so it stays
/// where it is, and whatever is wrong with it is no reason to fail.
fn take_leftover(job: &Job) -> Result<()> {
    let Some(path) = job.partial.leftover() else { return Ok(()) };
    let opened = OpenOptions::new().read(true).never_follow_nor_wait().open(path);
    let mut position = 0;
    let mut buffer = vec![0; 1 << 20];
    let copied = opened.and_then(|mut source| {
        loop {
            let n = source.read(&mut buffer)?;
            let left = job.task.entry.size - position;
            let n = n.min(usize::try_from(left).unwrap_or(usize::MAX));
            job.task.call.beat();
            if n == 0 || job.task.call.is_cancelled() {
                return Ok(Ok(()));
            }
            if let Err(error) = job.partial.write_at(&buffer[..n], position) {
                return Ok(Err(error));
            }
            position += n as u64;
        }
    });
    match copied {
        Ok(written) => written,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "can't take up a download");
            Ok(())
        }
    }
}

async fn fetch_from(
    job: &Job,
    source: &Source<'_>,
    hasher: ContentHasher,
    position: u64,
) -> Result<()> {
    let writer = job.clone();
    let wanted = position..job.task.entry.size;
    let done =
        transfer(job, source, wanted, move |queue| write(&writer, queue, hasher, position)).await;
    if done.as_ref().is_err_and(|error| error.kind() == Kind::ChecksumMismatch) {
        restart(job).await?;
    }
    done
}

/// The disk half for files that are hashed as a whole.
fn write(
    job: &Job,
    mut queue: mpsc::Receiver<Bytes>,
    mut hasher: ContentHasher,
    mut position: u64,
) -> Result<()> {
    while let Some(piece) = queue.blocking_recv() {
        if job.task.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        hasher.update(&piece);
        job.partial.write_at(&piece, position)?;
        position += piece.len() as u64;
        job.task.progress.reach(position);
    }
    if position < job.task.entry.size {
        return Ok(()); // the network half has failed, and says why
    }
    hasher.verify(&job.task.entry)
}
