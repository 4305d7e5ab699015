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

use tokio::sync::mpsc;

use super::ChunkSink;
use super::fetcher::Fetcher;
use super::receiving::{GETS_ON, Pieces, Receiving};
use super::recorder::Recorder;
use super::writer::{Ended, Writer};
use crate::call::scheduler::{Gate, Permit, SMALL};
use crate::call::tasks::Tasks;
use crate::cas::Opened;
use crate::cas::block::Fetch;
use crate::cas::parts::length;
use crate::cas::resolve::Resolver;
use crate::http::Retry;
use crate::model::content;
use crate::model::error::{Error, Kind, Result};
use crate::tier::{Claim, Found, Lease};

/// Pieces of a body that may wait for the blocking job.
const QUEUE: usize = 4;

/// A body of at most so many bytes is held: it's there soon, and few of them are lost with a process that is killed.
const HELD: u64 = 256 << 10;

/// What is shorter isn't shared, in bytes: to ask for it would take as long as to fetch it.
const SHARED: u64 = 64 << 10;

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
        let mut is_shared = self.publication.is_some() && fetch.body_len() >= SHARED;
        let mut named = (fetch.xorb, fetch.chunks.clone());
        let mut work = vec![fetch];
        let mut retry = Retry::new(self.cas.policy(), self.cas.min_speed());
        let mut garbled = false;
        while let Some(fetch) = work.pop() {
            let lacking = length(&self.missing(&fetch));
            let begun = Instant::now();
            // What other nodes have left may be what was wrong: it isn't taken twice.
            let takes = std::mem::take(&mut is_shared);
            if !takes {
                self.cas.in_reach(&fetch.url.0, task.progress.counters())?;
            }
            if fetch.xorb != named.0 {
                named = (fetch.xorb, fetch.chunks.clone());
            }
            let attempt = self.stream(fetch.clone(), &named.1, takes).await;
            let Attempt { ended: Ended { result, rest }, asked_storage } = attempt;
            let missing = self.missing(&fetch);
            let brought = lacking.saturating_sub(length(&missing));
            match &result {
                Ok(()) if asked_storage => self.cas.came_from(&fetch.url.0),
                Err(error) if is_for_nothing(error, brought) => {
                    let counters = task.progress.counters();
                    self.cas.nothing_from(&fetch.url.0, begun, error, counters);
                }
                _ => {}
            }
            let error = match result {
                Ok(()) => {
                    if asked_storage {
                        task.call.scheduler.streams.widen();
                    }
                    continue;
                }
                // No answer fits what doesn't belong to the file.
                Err(error) if self.sink.has_clashed() => return Err(error),
                // What came whole and is none of it may have been garbled on its way, but not twice.
                Err(error) if came_whole(&error) && (brought == 0 || !error.is_transient()) => {
                    if garbled {
                        return Err(self.verdict(&fetch, error));
                    }
                    // It may be another node's doing.
                    garbled = !takes;
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
        let Some(span) = rest.span() else { return Ok(None) };
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

    /// What an attempt begins with.
    async fn begin_attempt(
        &self,
        fetch: &Fetch,
        named: &Range<u32>,
        is_shared: bool,
    ) -> Result<Begun> {
        if is_shared && let Some(sharing) = self.cas.sharing() {
            let counters = self.sink.task().progress.counters();
            let look = || sharing.tier().look(&fetch.xorb, &fetch.chunks, counters);
            let (mut found, mut lease) = (look().await, None);
            if found.is_empty() {
                let claim = self.claim(fetch, named).await;
                let is_free = !matches!(claim, Claim::Others);
                if let Claim::Mine(mine) = claim {
                    lease = Some(self.lend(fetch, named, mine));
                    // Whoever had it before may have left all of it meanwhile.
                    found = look().await;
                }
                if is_free && found.is_empty() {
                    return Ok(Begun {
                        opened: Some(self.open(fetch, fetch.bytes).await?),
                        found,
                        lease,
                    });
                }
            }
            return Ok(Begun { opened: None, found, lease });
        }
        Ok(Begun {
            opened: Some(self.open(fetch, fetch.bytes).await?),
            found: Vec::new(),
            lease: None,
        })
    }

    /// One attempt at one fetch, which other nodes know as the chunks `named`.
    async fn stream(&self, fetch: Fetch, named: &Range<u32>, is_shared: bool) -> Attempt {
        let task = self.sink.task();
        let what: Arc<str> =
            format!("storage to send xorb {} of {}", fetch.xorb.hex(), task.entry.path).into();
        let _waiting = task.call.counters.waits.begin(Arc::clone(&what), Duration::ZERO);
        // Before there is a writer: it would wait in vain where storage has nothing to give.
        let begun = match self.begin_attempt(&fetch, named, is_shared).await {
            Ok(begun) => begun,
            Err(error) => {
                let ended = Ended { result: Err(error), rest: fetch };
                return Attempt { ended, asked_storage: true };
            }
        };
        let recorder = self.publication.as_ref().filter(|_| fetch.body_len() >= SHARED);
        let recorder = recorder.map(|to| Recorder::new(Arc::clone(to), fetch.xorb, named));
        let writer = Writer::new(Arc::clone(&self.sink), fetch.clone(), recorder);
        let (network, written, lease, asked_storage) = if fetch.body_len() <= HELD {
            let pieces = Pieces::Held(Vec::new());
            let (network, received) = self.receive(&fetch, named, begun, pieces).await;
            let what = format!("the disk to take more of {}", task.entry.path);
            let Received { pieces, lease, asked_storage } = received;
            let write = move || Ok(writer.run(pieces.held().into_iter()));
            (network, task.write_now(what, write).await, lease, asked_storage)
        } else {
            let (pieces, mut queue) = mpsc::channel(QUEUE);
            let pieces_of = std::iter::from_fn(move || queue.blocking_recv());
            let writing = task.spawn_writer(what, move || Ok(writer.run(pieces_of)));
            let (network, received) = self.receive(&fetch, named, begun, Pieces::To(pieces)).await;
            let Received { pieces, lease, asked_storage } = received;
            drop(pieces);
            let panicked = || Error::internal("a xorb writer panicked");
            (network, writing.await.unwrap_or_else(|_| Err(panicked())), lease, asked_storage)
        };
        // Others wait until the writer has seen all of it.
        drop(lease);
        let Ended { result: written, rest } = match written {
            Ok(ended) => ended,
            // It never began: there is no thread for it.
            Err(error) => {
                return Attempt { ended: Ended { result: Err(error), rest: fetch }, asked_storage };
            }
        };
        let result = match (network, written) {
            // A body that was cut ends inside a chunk as well; the cut is the cause.
            (Err(cut), Err(written)) if is_of_the_body(&written) => Err(cut),
            // A disk that fails is no reason to ask again, whatever the network does.
            (network, written) => written.and(network),
        };
        Attempt { ended: Ended { result, rest }, asked_storage }
    }

    /// The network half.
    async fn receive(
        &self,
        fetch: &Fetch,
        named: &Range<u32>,
        begun: Begun,
        pieces: Pieces,
    ) -> (Result<()>, Received) {
        let Begun { opened, found, lease } = begun;
        let asks_storage = opened.is_some();
        let mut receiving = Receiving { fetcher: self, fetch, named, pieces, lease, asks_storage };
        let received = match (opened, self.cas.sharing()) {
            (Some(opened), _) => receiving.receive(opened).await,
            (None, Some(sharing)) => receiving.receive_shared(sharing, found).await,
            (None, None) => Err(Error::internal("a fetch from nowhere")),
        };
        let Receiving { pieces, lease, asks_storage: asked_storage, .. } = receiving;
        (received, Received { pieces, lease, asked_storage })
    }
}

/// How an attempt has ended.
struct Attempt {
    ended: Ended,
    /// Not all came from other nodes.
    asked_storage: bool,
}

/// What is left of the network half.
struct Received {
    pieces: Pieces,
    lease: Option<Arc<Lease>>,
    asked_storage: bool,
}

/// What an attempt begins with: the first answer of storage, or what other nodes have.
struct Begun {
    opened: Option<Opened>,
    found: Vec<Found>,
    /// This node's, while others wait for what it fetches.
    lease: Option<Arc<Lease>>,
}

fn its_turn(fetch: &Fetch) -> String {
    format!("its turn to fetch from xorb {}", fetch.xorb.hex())
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

/// Whether storage refused a URL that it has signed: it has expired.
fn is_refusal(error: &Error) -> bool {
    matches!(error.context().http_status, Some(401 | 403))
}
