//! Fetches a large file over plain HTTP in parts, several at a time.
//!
//! CDNs don't give more than so many bytes at once, and often not more than so many a second for a
//! connection. Each part is written to its place in the partial file as it comes; who hashes the file
//! [follows](super::follow). A part that breaks off is taken up where it ended, whoever comes to it next.
//!
//! Not every server gives parts, or several at a time. The first part is asked for alone: if the answer is
//! the whole file, then that is what is taken. A stream that brings nothing beside others is one too many;
//! only what fails alone is the file's failure, as often as the policy has it. A part that is refused for now
//! rests until it may be asked for again, while others go on.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, oneshot};

use super::known::is_odd;
use super::stream::{forward, hand_over};
use super::width::Width;
use super::{Source, Tries};
use crate::call::scheduler::Permit;
use crate::cas::parts::length;
use crate::download::job::Job;
use crate::download::received::Received;
use crate::http::Retry;
use crate::hub::{Content, is_refused_range};
use crate::model::error::{Error, Hold, Kind, Result};
use crate::model::told;

/// How many bytes a part has. A connection that gives 25 MB/s has it for most of a second, so that the
/// round trip before it costs little; and a file of 500 GB is 30,000 requests, none of which the Hub counts,
/// as storage's URL is good for all of them.
pub(super) const PART: u64 = 16 << 20;

/// What is no larger comes in one piece: it's on its way for too short a time to be worth another
/// connection.
pub(in crate::download) const LARGE: u64 = 2 * PART;

/// What is noted at a time. A kill costs no more of a stream.
const NOTED: u64 = 1 << 20;

/// What is fetched of one file.
struct Parts<'a> {
    job: &'a Job,
    source: &'a Source<'a>,
    received: &'a Arc<Received>,
    within: Range<u64>,
    /// A part was answered with that part.
    are_given: AtomicBool,
    /// A part was answered with something else.
    are_refused: AtomicBool,
    /// Where parts begin that were refused.
    odd: Mutex<HashSet<u64>>,
    /// Why the whole isn't given, either.
    whole_refused: Mutex<Option<Error>>,
    /// The first part is on its way: others may be asked for.
    changed: Notify,
}

/// How a stream ended.
struct Ended {
    part: Range<u64>,
    brought: u64,
    result: Result<()>,
}

/// Brings in what `received` lacks of `within`, which may be written to meanwhile by nobody else.
pub(super) async fn bring(
    job: &Job,
    source: &Source<'_>,
    received: &Arc<Received>,
    within: Range<u64>,
) -> Result<()> {
    let parts = Parts {
        job,
        source,
        received,
        within,
        are_given: AtomicBool::new(false),
        are_refused: AtomicBool::new(false),
        odd: Mutex::default(),
        whole_refused: Mutex::default(),
        changed: Notify::new(),
    };
    parts.run().await
}

impl Parts<'_> {
    async fn run(&self) -> Result<()> {
        let (task, file) = (&self.job.task, &self.job.task.entry.path);
        let counters = task.progress.counters();
        let _waiting = counters.waits.begin(format!("{file} over plain HTTP"), Duration::ZERO);
        let streams = &task.call.scheduler.streams;
        let policy = self.source.policy;
        let begin = || Retry::new(policy, self.source.hub.deadlines().min_speed);
        let mut retry = begin();
        let mut width = Width::default();
        let mut running = FuturesUnordered::new();
        let mut on_their_way: Vec<Range<u64>> = Vec::new();
        let mut resting = Resting::default();
        loop {
            for _ in 0..resting.wake() {
                counters.add_retry();
            }
            while running.is_empty() || (self.may_be_several() && running.len() < width.now()) {
                let taken = on_their_way.iter().chain(resting.parts());
                let Some(part) = self.next(taken) else { break };
                let (is_alone, what) = (running.is_empty(), format!("its turn to fetch {file}"));
                let permit = if is_alone {
                    task.call.turn(streams, what).await?
                } else {
                    // Who waits in line comes first.
                    let Some(permit) = streams.try_turn(&task.call.counters, 1) else { break };
                    permit
                };
                on_their_way.push(part.clone());
                running.push(self.stream(part, is_alone, permit));
            }
            if running.is_empty()
                && let Some(error) = resting.take_first()
            {
                self.source.pause(&mut retry, error, 0, counters).await?;
                continue;
            }
            let due = resting.due().filter(|_| running.len() < width.now());
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = self.changed.notified() => continue,
                () = until(due) => continue,
            };
            let Some(Ended { part, brought, result }) = ended else { return Ok(()) };
            on_their_way.retain(|other| other.start != part.start);
            match result {
                Ok(()) => {
                    if brought > 0 {
                        retry = begin();
                    }
                    width.went_well();
                    streams.widen();
                }
                Err(error) if !error.is_transient() && !error.is_refused_url() => {
                    return Err(error);
                }
                Err(error) => {
                    if let Some(hold) = policy.held_back(&error, counters) {
                        // A server that takes no more at once may say it so.
                        if hold.was_sent && !running.is_empty() {
                            width.is_too_much(running.len());
                        }
                        tracing::debug!(%file, ?part, %error, "a part is refused for now");
                        resting.add(part, hold, error);
                        continue;
                    }
                    tracing::warn!(
                        target: told::BROKE, %file, ?part, %error,
                        "a part broke off; taking it up again"
                    );
                    if error.is_refused_url() {
                        counters.add_refresh();
                    }
                    if error.kind() == Kind::Timeout {
                        streams.narrow();
                    }
                    if running.is_empty() {
                        width.is_too_much(1);
                        self.source.pause(&mut retry, error, brought, counters).await?;
                        continue;
                    }
                    counters.add_retry();
                    let is_stalled = error.kind() == Kind::Timeout;
                    if is_stalled {
                        counters.add_stall();
                    }
                    // A line that is too slow for so many of them is no better with as many.
                    if brought == 0 || is_stalled {
                        width.is_too_much(running.len());
                    }
                }
            }
        }
    }

    /// Whether a part was given, and none was refused.
    fn may_be_several(&self) -> bool {
        self.are_given.load(Ordering::Relaxed)
            && !self.are_refused.load(Ordering::Relaxed)
            && self.received.takes_any_order()
    }

    /// What is to be asked for next: the first part that hasn't come, and isn't `taken`.
    fn next<'r>(&self, taken: impl Iterator<Item = &'r Range<u64>>) -> Option<Range<u64>> {
        let mut missing = self.received.missing(&self.within);
        for other in taken {
            missing = missing.into_iter().flat_map(|gap| without(gap, other)).collect();
        }
        let first = missing.into_iter().next()?;
        if self.are_refused.load(Ordering::Relaxed) {
            return Some(first);
        }
        let most = self.source.longest().unwrap_or(PART).min(PART);
        Some(first.start..first.end.min(first.start + most))
    }

    /// Fetches a part, in one attempt.
    async fn stream(&self, part: Range<u64>, is_alone: bool, permit: Permit) -> Ended {
        let _until_it_has_ended = permit;
        let (received, job) = (Arc::clone(self.received), self.job.clone());
        let lacked = length(&self.received.missing(&self.within));
        let at = part.start;
        let receive = |pieces, opened| self.receive(part.clone(), pieces, opened);
        let result =
            hand_over(self.job, receive, move |queue| write(&job, &received, at, queue)).await;
        // Others count theirs, too; it matters whether this is nothing.
        let brought = if is_alone {
            lacked.saturating_sub(length(&self.received.missing(&self.within)))
        } else {
            let left = length(&self.received.missing(&part));
            (part.end - part.start).saturating_sub(left)
        };
        Ended { part, brought, result }
    }

    async fn receive(
        &self,
        mut part: Range<u64>,
        pieces: mpsc::Sender<Bytes>,
        opened: oneshot::Sender<()>,
    ) -> Result<()> {
        let Some(content) = self.open(&mut part).await? else { return Ok(()) };
        // Nobody listens any more if the call has ended.
        let _ = opened.send(());
        forward(self.job, self.source, content, &mut part, &pieces).await
    }

    /// Opens a part, or what is given in its place: then `part` is that. `None`: something else is to be asked
    /// for.
    async fn open(&self, part: &mut Range<u64>) -> Result<Option<Content>> {
        let (source, entry) = (self.source, &self.job.task.entry);
        let counters = self.job.task.progress.counters();
        let asked = part.end - part.start;
        if self.are_refused.load(Ordering::Relaxed) {
            let to = Some(part.end).filter(|&end| end < entry.size);
            let opened = source.open_whole(entry, part.start, to, Tries::One, counters).await;
            return match opened {
                Err(error) if source.asks_again(asked, &error) => {
                    if source.longest().is_some() {
                        *self.whole_refused() = Some(error);
                        self.are_refused.store(false, Ordering::Relaxed);
                    }
                    Ok(None)
                }
                opened => opened.map(Some),
            };
        }
        let opened = match source.open_part(entry, part, Tries::One, counters).await {
            Err(error) if is_odd(&error) && self.is_first_time(part.start) => return Ok(None),
            Err(error) if self.whole_refused().is_some() && source.asks_again(asked, &error) => {
                return Ok(None);
            }
            Err(error) if is_refused_range(&error) || source.refuses(&error) => None,
            opened => opened?,
        };
        match opened {
            Some(content) if content.is_part => {
                if !self.are_given.swap(true, Ordering::Relaxed) {
                    self.changed.notify_one();
                }
                Ok(Some(content))
            }
            // The first answer, and nobody else is at the rest.
            Some(content) if !self.are_given.load(Ordering::Relaxed) => {
                self.are_refused.store(true, Ordering::Relaxed);
                let gap = self.received.missing(&(part.start..self.within.end));
                part.end = gap.first().map_or(part.end, |gap| gap.end);
                Ok(Some(content))
            }
            _ if self.is_first_time(part.start) => Ok(None),
            _ => {
                if let Some(error) = self.whole_refused().clone() {
                    return Err(error);
                }
                self.are_refused.store(true, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// Whether the part from there on is refused for the first time: it's asked for once more before that says
    /// anything of the server.
    fn is_first_time(&self, at: u64) -> bool {
        self.odd.lock().unwrap_or_else(PoisonError::into_inner).insert(at)
    }

    fn whole_refused(&self) -> MutexGuard<'_, Option<Error>> {
        self.whole_refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server isn't to be asked for now, since it has refused it for now.
#[derive(Default)]
struct Resting(Vec<(Range<u64>, Hold, Error)>);

impl Resting {
    /// A part was refused; or not even asked for, as others were refused: then nothing is to be asked for.
    fn add(&mut self, part: Range<u64>, hold: Hold, error: Error) {
        let part = if hold.was_sent { part } else { 0..u64::MAX };
        self.0.push((part, hold, error));
    }

    fn parts(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter().map(|(part, ..)| part)
    }

    /// When the first of them may be asked for again.
    fn due(&self) -> Option<Instant> {
        self.0.iter().map(|(_, hold, _)| hold.until).min()
    }

    /// Why the first of them rests, which does so no longer.
    fn take_first(&mut self) -> Option<Error> {
        let due = self.due()?;
        let first = self.0.iter().position(|(_, hold, _)| hold.until == due)?;
        Some(self.0.swap_remove(first).2)
    }

    /// Ends the rest of those that may be asked for; how many of them were refused before.
    fn wake(&mut self) -> usize {
        let now = Instant::now();
        let woken = self.0.extract_if(.., |(_, hold, _)| hold.until <= now);
        woken.filter(|(_, hold, _)| hold.was_sent).count()
    }
}

/// Waits until then, or for ever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The disk half: what comes is written to its place, and noted.
fn write(
    job: &Job,
    received: &Received,
    begins: u64,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<()> {
    let (mut noted, mut at) = (begins, begins);
    let written = loop {
        let Some(piece) = queue.blocking_recv() else { break Ok(()) };
        if job.task.call.is_cancelled() {
            break Err(Error::cancelled());
        }
        if let Err(error) = job.partial.write_at(&piece, at) {
            break Err(error);
        }
        let end = at + piece.len() as u64;
        received.add(at..end);
        job.task.progress.advance(end - at);
        at = end;
        if at - noted >= NOTED {
            received.keep(job, &(noted..at))?;
            noted = at;
        }
    };
    if at > noted {
        received.keep(job, &(noted..at))?;
    }
    written
}

/// What is left of `gap` without `other`.
fn without(gap: Range<u64>, other: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let before = gap.start..gap.end.min(other.start);
    let after = gap.start.max(other.end)..gap.end;
    let is_apart = other.end <= gap.start || gap.end <= other.start;
    let left = if is_apart { [gap, 0..0] } else { [before, after] };
    left.into_iter().filter(|range| !range.is_empty())
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of ranges, of which some hold one")]
mod tests {
    use super::*;

    /// What somebody is at already isn't asked for again.
    #[test]
    fn what_is_on_its_way_is_left_out() {
        let left = |gap, other| without(gap, &other).collect::<Vec<_>>();
        assert_eq!(left(10..20, 12..15), [10..12, 15..20]);
        assert_eq!(left(10..20, 5..15), vec![15..20]);
        assert_eq!(left(10..20, 15..25), vec![10..15]);
        assert_eq!(left(10..20, 0..30), []);
        assert_eq!(left(10..20, 20..30), vec![10..20]);
        assert_eq!(left(10..20, 0..10), vec![10..20]);
    }
}
