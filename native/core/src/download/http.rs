//! Fetches a file, or a range of it, over plain HTTP: git and LFS files, and what of Xet files can't
//! come through Xet.
//!
//! One stream, handed to a blocking job in the order it comes. When it breaks, the next attempt asks
//! for the rest only, and the job goes on.

use std::fs::OpenOptions;
use std::io::Read;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};

use super::job::Job;
use crate::http::{Coding, Retry, RetryPolicy};
use crate::hub::{Content, Hub};
use crate::model::content::ContentHasher;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Repo};
use crate::sys::open::Wary;

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// Where files come from over plain HTTP.
pub(crate) struct Source<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) policy: RetryPolicy,
    pub(crate) repo: &'a Repo,
    pub(crate) commit: &'a CommitId,
    /// What content was decoded from, if it came encoded.
    pub(crate) decoded: OnceLock<Coding>,
}

/// Fetches what `job`'s partial file doesn't hold yet, and checks the SHA-256 or git blob id of the
/// whole.
pub(crate) async fn fetch(job: &Job, source: &Source<'_>) -> Result<()> {
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
            return Err(Error::internal("a partial file shrank under its lock"));
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

/// Receives the bytes `wanted` of `job`'s file, and hands them to `write`, which runs where it may
/// block, until it has them all or there is no more hope.
pub(super) async fn transfer<W>(
    job: &Job,
    source: &Source<'_>,
    wanted: Range<u64>,
    write: W,
) -> Result<()>
where
    W: FnOnce(mpsc::Receiver<Bytes>) -> Result<()> + Send + 'static,
{
    let (pieces, queue) = mpsc::channel(QUEUE);
    let (opened, is_opened) = oneshot::channel();
    let mut receiving = std::pin::pin!(receive(job, source, wanted, pieces, opened));
    // A request that waits for its answer holds no thread.
    let early = tokio::select! {
        received = &mut receiving => Some(received),
        _ = is_opened => None,
    };
    let writing =
        job.task.spawn_writer(format!("more of {}", job.task.entry.path), move || write(queue));
    let received = match early {
        Some(received) => received,
        None => receiving.await,
    };
    let written = match writing.await {
        Ok(result) => result,
        Err(_) => Err(Error::internal("a file writer panicked")),
    };
    // If both failed, the writer's error came first: it is why the queue closed.
    match (received, written) {
        (Err(network), Ok(())) => Err(network),
        (_, written) => written,
    }
}

/// The network half: pieces of content in order, taken up again where they broke off. Says when the
/// first of them are about to come.
async fn receive(
    job: &Job,
    source: &Source<'_>,
    wanted: Range<u64>,
    pieces: mpsc::Sender<Bytes>,
    opened: oneshot::Sender<()>,
) -> Result<()> {
    let mut begun = Some(opened);
    let counters = job.task.progress.counters();
    let (entry, file) = (&job.task.entry, &job.task.entry.path);
    let _waiting = counters.waits.begin(format!("{file} over plain HTTP"), Duration::ZERO);
    let mut left = wanted;
    let mut retry = Retry::new(source.policy, source.hub.deadlines().min_speed);
    while !left.is_empty() {
        let before = left.start;
        // Opening has its own retries; what is left after them is final.
        let (from, to) = (left.start, Some(left.end).filter(|&end| end < job.task.entry.size));
        let opened =
            source.hub.open_file(source.repo, source.commit, entry, from, to, counters).await;
        let content = match opened {
            // A URL that the Hub has signed, and that storage refuses: the next one may be fresher.
            Err(error) if is_refused_url(&error) => {
                counters.add_refresh();
                retry.pause(error, 0, counters).await?;
                continue;
            }
            opened => opened?,
        };
        if let Some(begun) = begun.take() {
            // Nobody listens any more if the call has ended.
            let _ = begun.send(());
        }
        if content.coding != Coding::Plain {
            source.decoded.get_or_init(|| content.coding.clone());
        }
        let error = match forward(job, content, &mut left, &pieces).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        let position = left.start;
        tracing::warn!(%file, position, %error, "a download broke; taking it up again");
        retry.pause(error, position - before, counters).await?;
    }
    Ok(())
}

/// Hands the pieces of one answer on, and takes what was handed on from `left`. Returns without an
/// error also where the writer has failed, which says why.
async fn forward(
    job: &Job,
    mut content: Content,
    left: &mut Range<u64>,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<()> {
    let size = job.task.entry.size;
    if let Some(other) = content.total.filter(|&total| total != size) {
        // Not the file, but some page in its place, such as a network's login: it may pass.
        let path = &job.task.entry.path;
        let message = format!("{path}: the answer has {other} bytes, where {size} are published");
        return Err(Error::new(Kind::InvalidResponse, message));
    }
    let mut position = content.starts_at;
    while let Some(piece) = content.stream.next().await {
        let mut piece = piece?;
        job.task.progress.add_network(piece.len() as u64);
        let begin = position;
        position += piece.len() as u64;
        if position > size {
            return Err(Error::new(
                Kind::ChecksumMismatch,
                format!(
                    "{}: the content is longer than the {size} bytes published",
                    job.task.entry.path
                ),
            ));
        }
        // A server that doesn't do ranges begins at 0 and goes on to the end of the file.
        let before = left.start.saturating_sub(begin).min(piece.len() as u64);
        let after = position.saturating_sub(left.end).min(piece.len() as u64 - before);
        let kept = piece.len() as u64 - before - after;
        if kept > 0 {
            let first = usize::try_from(before).map_err(Error::internal)?;
            let len = usize::try_from(kept).map_err(Error::internal)?;
            piece = piece.slice(first..first + len);
            if !job.task.hand_over(pieces, piece).await {
                return Ok(());
            }
            left.start += kept;
        }
        // At the end of the file, what may follow must be seen to be refused.
        if left.is_empty() && left.end < size {
            return Ok(());
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("{}: the answer ended at byte {position} of {size}", job.task.entry.path);
    Err(Error::new(Kind::Connection, message))
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

/// Whether storage refused a URL that the Hub had just given out.
fn is_refused_url(error: &Error) -> bool {
    error.context().from_storage && matches!(error.context().http_status, Some(401 | 403))
}
