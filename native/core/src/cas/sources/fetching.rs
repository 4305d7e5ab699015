//! One fetch, in as many attempts as it needs.
//!
//! A fetch is a stream: the network task hands pieces to a blocking job ([`writer`](super::writer)),
//! which cuts, decompresses, hashes and writes them, so a connection costs a few pieces of memory
//! whatever the size of the xorb. A small body is held until it's there, so that no thread waits for it, nor is
//! woken for each piece of it. A fetch that fails is taken up where its chunks end, on another
//! connection, with a new reconstruction (and with that new URLs): one question and one request,
//! however often the file repeats those chunks.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::ChunkSink;
use super::writer::{Ended, Writer};
use crate::call::scheduler::{Gate, Permit, SMALL};
use crate::call::tasks::Tasks;
use crate::cas::block::{Fetch, Placement};
use crate::cas::parts::length;
use crate::cas::resolve::Resolver;
use crate::cas::{Cas, Opened};
use crate::http::Retry;
use crate::http::origin::{authority, bare};
use crate::model::content;
use crate::model::error::{Error, Kind, Result};

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// A body of at most so many bytes is held: it's there soon, and few of them are lost with a process that is killed.
const HELD: u64 = 256 << 10;

/// So many answers are asked for in one attempt. What gives less than this part of a xorb at once is a trickle.
const MOST_ANSWERS: usize = 256;

/// What shows that a stream gets on, in bytes.
const GETS_ON: u64 = 1 << 20;

/// Fetches parts of one file from storage.
pub(super) struct Fetcher<S> {
    pub(super) sink: Arc<S>,
    pub(super) cas: Arc<Cas>,
}

impl<S> Clone for Fetcher<S> {
    fn clone(&self) -> Self {
        Self { sink: Arc::clone(&self.sink), cas: Arc::clone(&self.cas) }
    }
}

impl<S: ChunkSink> Fetcher<S> {
    /// Begins a fetch as soon as there is a connection for it.
    pub(super) async fn begin(&self, fetch: Fetch, running: &mut Tasks) -> Result<()> {
        let task = self.sink.task();
        let (call, is_small) = (&task.call, fetch.body_len() <= self.sink.small());
        let gate = if is_small { &call.scheduler.parts } else { &call.scheduler.streams };
        // What a small file may have in flight goes with its own permit.
        let is_admitted = task.entry.size <= SMALL;
        let connection = if is_admitted {
            None
        } else {
            Some((Arc::clone(gate), running.turn(call, gate, its_turn(&fetch)).await?))
        };
        let fetcher = self.clone();
        running.spawn(async move { fetcher.bring(fetch, connection).await });
        Ok(())
    }

    fn ask(&self) -> Resolver<'_> {
        Resolver::new(&self.cas, self.sink.hash(), self.sink.task())
    }

    /// Brings in everything that `fetch` is for, in as many attempts as the policy allows. While it
    /// waits for the next one, others have its connection.
    async fn bring(&self, fetch: Fetch, connection: Option<(Arc<Gate>, Permit)>) -> Result<()> {
        let task = self.sink.task();
        let (gate, mut connection) = connection.unzip();
        let mut work = vec![fetch];
        let mut retry = Retry::new(self.cas.policy(), self.cas.min_speed());
        let mut garbled = false;
        while let Some(fetch) = work.pop() {
            self.cas.in_reach(&fetch.url.0, task.progress.counters())?;
            let lacking = length(&self.missing(&fetch));
            let begun = Instant::now();
            let Ended { result, rest } = self.stream(fetch.clone()).await;
            let missing = self.missing(&fetch);
            let brought = lacking.saturating_sub(length(&missing));
            match &result {
                Ok(()) => self.cas.came_from(&fetch.url.0),
                Err(error) if is_for_nothing(error, brought) => {
                    let counters = task.progress.counters();
                    self.cas.nothing_from(&fetch.url.0, begun, error, counters);
                }
                Err(_) => {}
            }
            let error = match result {
                Ok(()) => {
                    task.call.scheduler.streams.widen();
                    continue;
                }
                // No answer fits what doesn't belong to the file.
                Err(error) if self.sink.has_clashed() => return Err(error),
                // What came whole and is none of it may have been garbled on its way, but not twice.
                Err(error) if came_whole(&error) && (brought == 0 || !error.is_transient()) => {
                    if garbled {
                        return Err(self.verdict(&fetch, error));
                    }
                    garbled = true;
                    error
                }
                Err(error) if is_worth_another_url(&error) => error,
                // What has just been told of the server needn't be told of each file.
                Err(error) if error.is_final() => {
                    self.cas.in_reach(&fetch.url.0, task.progress.counters())?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            tracing::info!(
                file = %task.entry.path, xorb = %fetch.xorb.hex(), %error,
                "a xorb fetch failed; taking it up where it ended"
            );
            if error.kind() == Kind::Timeout {
                task.call.scheduler.streams.narrow();
            }
            if is_refusal(&error) {
                task.progress.counters().add_refresh();
            }
            // Of a body that wasn't just cut, nobody knows where its chunks were.
            let is_cut = error.is_transient() || is_refusal(&error);
            if missing.is_empty() {
                continue;
            }
            drop(connection.take());
            let paused = retry.pause(error, brought, task.progress.counters()).await;
            paused.map_err(|error| self.verdict(&fetch, error))?;
            if let Some(gate) = &gate {
                connection = Some(task.call.turn(gate, its_turn(&fetch)).await?);
            }
            match self.renew(&rest, is_cut).await? {
                Some(fetches) => work.extend(fetches),
                None => {
                    for gap in missing {
                        work.extend(self.ask().resolve(&gap, &gap).await?);
                    }
                }
            }
        }
        Ok(())
    }

    /// What a failure says that stays. An answer that came whole, and isn't those chunks, is what storage
    /// has of the xorb, unless it has nothing else for any.
    fn verdict(&self, fetch: &Fetch, error: Error) -> Error {
        if !came_whole(&error) {
            return error;
        }
        let (url, counters) = (&fetch.url.0, self.sink.task().progress.counters());
        self.cas.wrong_for(fetch, &error, counters);
        let damaged = || content::undecodable(&self.sink.task().entry, &fetch.xorb.hex(), &error);
        self.cas.in_reach(url, counters).err().unwrap_or_else(damaged)
    }

    /// New URLs for what a fetch has left, which is `rest`. `is_cut`: it's known where in the xorb
    /// that begins. `None`: the CAS says something else now about this part of the file.
    async fn renew(&self, rest: &Fetch, is_cut: bool) -> Result<Option<Vec<Fetch>>> {
        let Some(span) = span(rest) else { return Ok(None) };
        let answer = self.ask().resolve(&span, &rest.within).await?;
        Ok(take_up(&answer, rest, is_cut))
    }

    /// What the file lacks of what `fetch` is for.
    fn missing(&self, fetch: &Fetch) -> Vec<Range<u64>> {
        let spans = fetch
            .placements
            .iter()
            .map(|p| p.offset.max(fetch.within.start)..(p.offset + p.len).min(fetch.within.end));
        spans.flat_map(|span| self.sink.missing(span)).collect()
    }

    /// The network half of an attempt: hands on what comes of a fetch, of which the first answer is `opened`. One that
    /// gives honestly less than it was asked for is asked on from where it ended.
    async fn receive(&self, fetch: &Fetch, mut opened: Opened, pieces: &mut Pieces) -> Result<()> {
        let mut from = fetch.bytes.0;
        for _ in 0..MOST_ANSWERS {
            let promised = opened.length;
            let taken = self.hand_on(fetch, from - fetch.bytes.0, opened, pieces).await?;
            let Taken::All(taken) = taken else { return Ok(()) };
            from += taken;
            // Of one that ends in the middle, the writer says what is wrong.
            if taken < promised || from > fetch.bytes.1 {
                return Ok(());
            }
            tracing::debug!(xorb = %fetch.xorb.hex(), from, "asking for the rest of a range");
            opened = self.cas.open(fetch, from, &self.sink.task().call.counters.waits).await?;
        }
        let url = &fetch.url.0;
        let message =
            format!("{} gives too little of xorb {} at a time", authority(url), fetch.xorb.hex());
        Err(Error::new(Kind::Connection, message).with(|c| c.url = Some(bare(url))))
    }

    /// Hands on the bytes of one answer, before which so many of the fetch came, up to as many as it says that it
    /// has. What comes behind them is none of ours.
    async fn hand_on(
        &self,
        fetch: &Fetch,
        before: u64,
        mut opened: Opened,
        pieces: &mut Pieces,
    ) -> Result<Taken> {
        let task = self.sink.task();
        let mut taken = 0;
        while let Some(piece) = opened.body.next().await {
            let mut piece = piece?;
            task.progress.add_network(piece.len() as u64);
            piece.truncate(usize::try_from(opened.length - taken).unwrap_or(usize::MAX));
            if piece.is_empty() {
                break;
            }
            let at = before + taken;
            taken += piece.len() as u64;
            if at / GETS_ON < (before + taken) / GETS_ON {
                self.cas.comes_from(&fetch.url.0);
            }
            match pieces {
                Pieces::Held(pieces) => pieces.push(piece),
                Pieces::To(queue) if task.hand_over(queue, piece).await => {}
                Pieces::To(_) => return Ok(Taken::Unwanted),
            }
        }
        if taken == 0 { Err(is_empty(fetch)) } else { Ok(Taken::All(taken)) }
    }

    /// One attempt at one fetch.
    async fn stream(&self, fetch: Fetch) -> Ended {
        let task = self.sink.task();
        let what: Arc<str> =
            format!("storage to send xorb {} of {}", fetch.xorb.hex(), task.entry.path).into();
        let _waiting = task.call.counters.waits.begin(Arc::clone(&what), Duration::ZERO);
        let opened = match self.cas.open(&fetch, fetch.bytes.0, &task.call.counters.waits).await {
            Ok(opened) => opened,
            Err(error) => return Ended { result: Err(error), rest: fetch },
        };
        let writer = Writer::new(Arc::clone(&self.sink), fetch.clone());
        let (network, written) = if fetch.body_len() <= HELD {
            let mut pieces = Pieces::Held(Vec::new());
            let network = self.receive(&fetch, opened, &mut pieces).await;
            let what = format!("the disk to take more of {}", task.entry.path);
            let write = move || Ok(writer.run(pieces.held().into_iter()));
            (network, task.write_now(what, write).await)
        } else {
            let (pieces, mut queue) = mpsc::channel(QUEUE);
            let pieces_of = std::iter::from_fn(move || queue.blocking_recv());
            let writing = task.spawn_writer(what, move || Ok(writer.run(pieces_of)));
            let network = self.receive(&fetch, opened, &mut Pieces::To(pieces)).await;
            let panicked = || Error::internal("a xorb writer panicked");
            (network, writing.await.unwrap_or_else(|_| Err(panicked())))
        };
        let Ended { result: written, rest } = match written {
            Ok(ended) => ended,
            // It never began: there is no thread for it.
            Err(error) => return Ended { result: Err(error), rest: fetch },
        };
        let result = match (network, written) {
            // A body that was cut ends inside a chunk as well; the cut is the cause.
            (Err(cut), Err(written)) if is_of_the_body(&written) => Err(cut),
            // A disk that fails is no reason to ask again, whatever the network does.
            (network, written) => written.and(network),
        };
        Ended { result, rest }
    }
}

/// Where the pieces of a body go.
enum Pieces {
    /// To a writer that takes them as they come.
    To(mpsc::Sender<Bytes>),
    /// Nowhere before all are there.
    Held(Vec<Bytes>),
}

impl Pieces {
    fn held(self) -> Vec<Bytes> {
        match self {
            Self::To(_) => Vec::new(),
            Self::Held(pieces) => pieces,
        }
    }
}

/// How many bytes of a body are taken, and why no more.
enum Taken {
    /// All that there were.
    All(u64),
    /// The writer has failed, and says why.
    Unwanted,
}

fn its_turn(fetch: &Fetch) -> String {
    format!("its turn to fetch from xorb {}", fetch.xorb.hex())
}

/// The part of the file to ask about for all of a fetch's chunks: one of its places if that has all of
/// them, else from the first place to the last.
fn span(fetch: &Fetch) -> Option<Range<u64>> {
    let range = |p: &Placement| p.offset..p.offset + p.len;
    let places = &fetch.placements;
    let widest = places.iter().max_by_key(|p| p.chunks.len())?;
    let has_all =
        |p: &Placement| widest.chunks.start <= p.chunks.start && p.chunks.end <= widest.chunks.end;
    let span = if places.iter().all(has_all) {
        range(widest)
    } else {
        let starts = places.iter().map(|p| p.offset).min()?;
        starts..places.iter().map(|p| p.offset + p.len).max()?
    };
    let span = span.start.max(fetch.within.start)..span.end.min(fetch.within.end);
    (!span.is_empty()).then_some(span)
}

/// The fetches of a new answer that bring what `rest` is for; `None` if they don't.
fn take_up(answer: &[Fetch], rest: &Fetch, is_cut: bool) -> Option<Vec<Fetch>> {
    let mut renewed: Vec<Fetch> = Vec::new();
    for placement in &rest.placements {
        let is_same = |f: &&Fetch| f.xorb == rest.xorb && f.brings(&placement.chunks);
        let found = answer.iter().find(is_same)?;
        if let Some(fetch) = renewed.iter_mut().find(|fetch| fetch.bytes == found.bytes) {
            fetch.placements.push(placement.clone());
        } else {
            let (placements, within) = (vec![placement.clone()], rest.within.clone());
            renewed.push(Fetch { placements, within, ..found.clone() });
        }
    }
    for fetch in &mut renewed {
        // The rest of a range that was allowed as a whole is allowed as well.
        if is_cut && fetch.chunks.start < rest.chunks.start && rest.bytes.0 <= fetch.bytes.1 {
            fetch.chunks.start = rest.chunks.start;
            fetch.bytes.0 = rest.bytes.0;
        }
    }
    Some(renewed)
}

/// Whether new URLs may help: a passing failure, an expired signature, or a body that was cut or
/// garbled on its way.
fn is_worth_another_url(error: &Error) -> bool {
    error.is_transient() || error.kind() == Kind::InvalidResponse || is_refusal(error)
}

/// Whether an attempt that brought so many bytes of the file speaks against the server: it failed, or
/// stalled soon. An answer that came whole doesn't, whatever was in it.
fn is_for_nothing(error: &Error, brought: u64) -> bool {
    if came_whole(error) {
        return false;
    }
    let failed = is_worth_another_url(error) || error.is_final() || error.kind() == Kind::NotFound;
    let stalled = error.kind() == Kind::Timeout && brought < GETS_ON;
    failed && (brought == 0 || stalled)
}

/// Whether an answer came whole, and isn't what was asked for.
fn came_whole(error: &Error) -> bool {
    error.context().http_status.is_none() && is_of_the_body(error)
}

/// Whether a writer failed over what it was given.
fn is_of_the_body(error: &Error) -> bool {
    matches!(error.kind(), Kind::InvalidResponse | Kind::ChecksumMismatch)
}

/// The error for an answer that had a head and nothing else, whatever it said.
fn is_empty(fetch: &Fetch) -> Error {
    let url = &fetch.url.0;
    let message = format!("{} sent nothing of xorb {}", authority(url), fetch.xorb.hex());
    Error::new(Kind::Connection, message).with(|c| c.url = Some(bare(url)))
}

/// Whether storage refused a URL that it has signed: it has expired.
fn is_refusal(error: &Error) -> bool {
    matches!(error.context().http_status, Some(401 | 403))
}
