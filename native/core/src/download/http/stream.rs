//! One stream over plain HTTP, handed to a blocking job in the order it comes. When it breaks, the next
//! attempt asks for the rest only, and the job goes on.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};

use super::source::host;
use super::{Source, Tries};
use crate::download::job::Job;
use crate::http::{Coding, Retry};
use crate::hub::Content;
use crate::model::error::{Error, Kind, Result};
use crate::model::told;

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// Receives the bytes `wanted` of `job`'s file, and hands them to `write`, which runs where it may
/// block, until it has them all or there is no more hope.
pub(in crate::download) async fn transfer<W>(
    job: &Job,
    source: &Source<'_>,
    wanted: Range<u64>,
    write: W,
) -> Result<()>
where
    W: FnOnce(mpsc::Receiver<Bytes>) -> Result<()> + Send + 'static,
{
    hand_over(job, |pieces, opened| receive(job, source, wanted, pieces, opened), write).await
}

/// Has `write` write what `receive` receives. A request that waits for its answer holds no thread.
pub(super) async fn hand_over<R, W>(
    job: &Job,
    receive: impl FnOnce(mpsc::Sender<Bytes>, oneshot::Sender<()>) -> R,
    write: W,
) -> Result<()>
where
    R: Future<Output = Result<()>>,
    W: FnOnce(mpsc::Receiver<Bytes>) -> Result<()> + Send + 'static,
{
    let (pieces, queue) = mpsc::channel(QUEUE);
    let (opened, is_opened) = oneshot::channel();
    let mut receiving = std::pin::pin!(receive(pieces, opened));
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
    let file = &job.task.entry.path;
    let _waiting = counters.waits.begin(format!("{file} over plain HTTP"), Duration::ZERO);
    let mut left = wanted;
    let mut retry = Retry::new(source.policy, source.hub.deadlines().min_speed);
    while !left.is_empty() {
        let before = left.start;
        let most = source.longest().map_or(u64::MAX, |longest| left.start.saturating_add(longest));
        let mut part = left.start..most.min(left.end);
        // Opening has its own retries; what is left after them is final.
        let content = match open(job, source, &part).await {
            // A URL that the Hub has signed, and that storage refuses: the next one may be fresher.
            Err(error) if error.is_refused_url() => {
                counters.add_refresh();
                source.pause(&mut retry, error, 0, counters).await?;
                continue;
            }
            Err(error) if source.asks_again(part.end - part.start, &error) => continue,
            opened => opened?,
        };
        if let Some(begun) = begun.take() {
            // Nobody listens any more if the call has ended.
            let _ = begun.send(());
        }
        let forwarded = forward(job, source, content, &mut part, &pieces).await;
        left.start = part.start;
        let error = match forwarded {
            Ok(()) if part.is_empty() => continue,
            Ok(()) => return Ok(()), // the writer has failed, and says why
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        let position = left.start;
        tracing::warn!(
            target: told::BROKE, %file, position, %error,
            "a download broke; taking it up again"
        );
        source.pause(&mut retry, error, position - before, counters).await?;
    }
    Ok(())
}

/// Opens a part of the file: as one, if that isn't what is left of the file.
async fn open(job: &Job, source: &Source<'_>, part: &Range<u64>) -> Result<Content> {
    let (entry, counters) = (&job.task.entry, job.task.progress.counters());
    if source.longest().is_some()
        && let Some(content) = source.open_part(entry, part, Tries::All, counters).await?
    {
        return Ok(content);
    }
    let to = Some(part.end).filter(|&end| end < entry.size);
    source.open_whole(entry, part.start, to, Tries::All, counters).await
}

/// Hands the pieces of one answer on, and takes what was handed on from `left`. Returns without an
/// error also where the writer has failed, which says why.
pub(super) async fn forward(
    job: &Job,
    source: &Source<'_>,
    content: Content,
    left: &mut Range<u64>,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<()> {
    let size = job.task.entry.size;
    if content.coding != Coding::Plain {
        source.decoded.get_or_init(|| content.coding.clone());
    }
    // One that has nothing is looked at below.
    if let Some(other) = content.total.filter(|&total| total != size && total > 0) {
        // Not the file, but some page in its place, such as a network's login: it may pass.
        let path = &job.task.entry.path;
        let message = format!("{path}: the answer has {other} bytes, where {size} are published");
        return Err(Error::new(Kind::InvalidResponse, message).with(|c| c.may_pass = true));
    }
    let (mut position, mut is_empty) = (content.starts_at, true);
    let ((url, status), mut stream) = (content.from, content.stream);
    while let Some(piece) = stream.next().await {
        let mut piece = piece?;
        job.task.progress.add_network(piece.len() as u64);
        if is_empty && !piece.is_empty() {
            source.known.outages.came(&host(&url));
            is_empty = false;
        }
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
    let (path, host) = (&job.task.entry.path, host(&url));
    if is_empty {
        let message = format!("{path}: {host} answered HTTP {status} and sent nothing of it");
        let nothing = Error::new(Kind::Connection, message);
        return Err(nothing.with(|c| (c.http_status, c.url) = (Some(status), Some(url))));
    }
    let message = format!("{path}: the answer of {host} ended at byte {position} of {size}");
    Err(Error::new(Kind::Connection, message))
}
