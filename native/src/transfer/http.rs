//! Fetches a file over plain HTTP: git and LFS files, and Xet files that can't come through Xet.
//!
//! One stream, hashed in the order it comes. When it breaks, the next attempt asks for the rest
//! only, and the hash goes on.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::job::Job;
use crate::content::ContentHasher;
use crate::error::{Error, Kind, Result};
use crate::hub::{Content, Hub};
use crate::net::RetryPolicy;
use crate::repo::{CommitId, Repo};

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// What the network task tells the writer.
enum Step {
    Data(Bytes),
    /// The server ignored the range that was asked for, and begins again.
    Restart,
}

/// Where files come from over plain HTTP.
pub(crate) struct Source<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) policy: RetryPolicy,
    pub(crate) repo: &'a Repo,
    pub(crate) commit: &'a CommitId,
}

/// Fetches what `job`'s partial file doesn't hold yet, and checks the SHA-256 or git blob id of the
/// whole.
pub(crate) async fn fetch(job: &Job, source: &Source<'_>) -> Result<()> {
    let beginning = job.clone();
    let (hasher, resumed) = job.call.blocking(move || resume(&beginning)).await?;
    match fetch_from(job, source, hasher, resumed).await {
        // The damage may be in what an earlier attempt has left.
        Err(error) if error.kind() == Kind::ChecksumMismatch && resumed > 0 => {
            tracing::warn!(file = %job.entry.path, "the resumed file is damaged; starting over");
            job.progress.counters().add_retry();
            job.restart()?;
            fetch_from(job, source, ContentHasher::new(&job.entry), 0).await
        }
        done => done,
    }
}

/// The beginning of the file that an earlier attempt has left, hashed; it ends at the position
/// returned.
fn resume(job: &Job) -> Result<(ContentHasher, u64)> {
    let mut hasher = ContentHasher::new(&job.entry);
    let len = job.len()?;
    // With a journal the partial file has gaps; its chunks are of no use for a stream.
    if job.journal_path().exists() {
        job.restart()?;
        return Ok((hasher, 0));
    }
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    while position < len {
        if job.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        let take = buffer.len().min(usize::try_from(len - position).unwrap_or(usize::MAX));
        let piece = &mut buffer[..take];
        if !job.read_at(piece, position)? {
            return Err(Error::internal("a partial file shrank under its lock"));
        }
        hasher.update(piece);
        position += take as u64;
    }
    job.progress.reused(position);
    job.progress.reach(position);
    Ok((hasher, position))
}

async fn fetch_from(
    job: &Job,
    source: &Source<'_>,
    hasher: ContentHasher,
    position: u64,
) -> Result<()> {
    let (steps, queue) = mpsc::channel(QUEUE);
    let writer = job.clone();
    let writing = job.spawn_writer(move || write(&writer, queue, hasher, position));
    let received = receive(job, source, steps, position).await;
    let written = match writing.await {
        Ok(result) => result,
        Err(_) => Err(Error::internal("a file writer panicked")),
    };
    // If both failed, the writer's error came first: it is why the queue closed.
    let done = match (received, written) {
        (Err(network), Ok(())) => Err(network),
        (_, written) => written,
    };
    if done.as_ref().is_err_and(|error| error.kind() == Kind::ChecksumMismatch) {
        job.restart()?;
    }
    done
}

/// The network half: pieces of content in order, taken up again where they broke off.
async fn receive(
    job: &Job,
    source: &Source<'_>,
    steps: mpsc::Sender<Step>,
    mut position: u64,
) -> Result<()> {
    let mut failures = 0;
    while position < job.entry.size {
        let before = position;
        let counters = job.progress.counters();
        // Opening has its own retries; what is left after them is final.
        let content = source
            .hub
            .open_file(source.repo, source.commit, &job.entry.path, position, counters)
            .await?;
        if content.starts_at != position {
            position = content.starts_at;
            if steps.send(Step::Restart).await.is_err() {
                return Ok(()); // the writer has failed, and says why
            }
        }
        let error = match forward(job, content, &steps, &mut position).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        failures = if position > before { 1 } else { failures + 1 };
        let file = &job.entry.path;
        tracing::warn!(%file, position, %error, "a download broke; taking it up again");
        source.policy.pause(failures, error, counters).await?;
    }
    Ok(())
}

/// Hands the pieces of one answer on.
async fn forward(
    job: &Job,
    mut content: Content,
    steps: &mpsc::Sender<Step>,
    position: &mut u64,
) -> Result<()> {
    let size = job.entry.size;
    while let Some(piece) = content.stream.next().await {
        let piece = piece?;
        let len = piece.len() as u64;
        job.progress.add_network(len);
        if *position + len > size {
            return Err(Error::new(
                Kind::ChecksumMismatch,
                format!(
                    "{}: the content is longer than the {size} bytes published",
                    job.entry.path
                ),
            ));
        }
        *position += len;
        if steps.send(Step::Data(piece)).await.is_err() {
            return Ok(()); // the writer has failed, and says why
        }
    }
    if *position < size {
        return Err(Error::new(
            Kind::Connection,
            format!("{}: the answer ended at byte {position} of {size}", job.entry.path),
        ));
    }
    Ok(())
}

/// The disk half.
fn write(
    job: &Job,
    mut queue: mpsc::Receiver<Step>,
    mut hasher: ContentHasher,
    mut position: u64,
) -> Result<()> {
    while let Some(step) = queue.blocking_recv() {
        if job.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        match step {
            Step::Data(piece) => {
                hasher.update(&piece);
                job.write_at(&piece, position)?;
                position += piece.len() as u64;
                job.progress.reach(position);
            }
            Step::Restart => {
                hasher = ContentHasher::new(&job.entry);
                position = 0;
                job.restart()?;
            }
        }
    }
    if position < job.entry.size {
        return Ok(()); // the network half has failed, and says why
    }
    hasher.verify(&job.entry)
}
