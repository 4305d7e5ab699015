//! What the nodes of a deployment share, so that one of them fetches what all of them need: pieces of xorbs, kept in a
//! store that people run anyway.
//!
//! Below `cas`, and beside [`http`](crate::http): this knows xorbs by their hashes and chunks by their
//! numbers, nothing of files, of the Hub or of who may read what. A node asks for what a reconstruction has told it,
//! which it got with its own rights ([`keys`]).
//!
//! Nobody depends on it. What it gives is opened and hashed; what it doesn't give in time, storage does; one that
//! fails is left alone for a while ([`breaker`]). What was fetched and proven is [published](Tier::publish) behind the
//! back of who has fetched it.
//!
//! ```text
//! cell      how a xorb is cut
//! piece     what is shared of it, sealed
//! keys      names and keys of that
//! store     what it's kept in: redis, folder
//! breaker   whether to ask
//! pulse     how long to wait for an answer
//! lease     who fetches what all want
//! ```

mod breaker;
mod cell;
mod folder;
mod keys;
mod lease;
mod piece;
mod pulse;
mod redis;
mod store;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use xet_core_structures::merklehash::MerkleHash;

use self::breaker::Breaker;
use self::cell::whole;
use self::folder::Folder;
use self::keys::{Keys, Name};

use self::piece::{Damaged, LARGEST};
use self::pulse::Pulse;
use self::redis::Redis;
use self::store::{Failure, Store};
use crate::call::progress::Counters;
use crate::config::{SharedCache, SharedPlace};
use crate::model::error::{Error, Result};

pub(crate) use cell::cells;
pub(crate) use lease::{Claim, Lease};
pub(crate) use piece::Piece;

/// How much longer the largest value may take than an answer without one: what is slower than 10 MB/s is of no help.
const LARGEST_TAKES: Duration = Duration::from_nanos(100 * LARGEST as u64);

/// How much longer it may take what nobody waits for.
const BEHIND: Duration = Duration::from_secs(2);

/// Values that are on their way at a time: each has a connection of its own.
const GETTING: usize = 4;

/// What waits to be published, in units of 1 KiB: 64 MiB. What doesn't fit isn't published.
const ROOM: usize = 64 << 10;

/// Values that are being written at a time.
const WRITERS: usize = 2;

/// What nodes share. One for a process; for many calls at a time.
pub(crate) struct Tier {
    place: String,
    keys: Keys,
    store: Box<dyn Store>,
    reads: Breaker,
    writes: Breaker,
    pulse: Pulse,
    /// Values that are on their way here.
    getting: Semaphore,
    room: Arc<Semaphore>,
    queue: UnboundedSender<Publication>,
    /// What is to be published, until somebody does.
    published: Mutex<Option<UnboundedReceiver<Publication>>>,
    is_publishing: AtomicBool,
    was_told: AtomicBool,
}

/// Where some chunks of a xorb may be had.
pub(crate) struct Found {
    /// The chunks.
    chunks: Range<u32>,
    /// The piece that has them.
    name: Name,
}

impl Found {
    /// The number of the first chunk.
    pub(crate) fn start(&self) -> u32 {
        self.chunks.start
    }
}

/// The memory that something may take until it's published. It's given back when this is dropped.
pub(crate) struct Room(OwnedSemaphorePermit);

/// Chunks of a xorb that somebody vouches for.
struct Publication {
    name: Name,
    xorb: MerkleHash,
    offset: u64,
    parts: Vec<Bytes>,
    room: Room,
    /// Others may wait for it.
    lease: Option<Arc<Lease>>,
}

impl Tier {
    /// Uses no network.
    pub(crate) fn new(shared: &SharedCache) -> Result<Arc<Self>> {
        let store: Box<dyn Store> = match &shared.place {
            SharedPlace::Folder(root) => Box::new(Folder::new(root.clone())),
            SharedPlace::Redis(url) => {
                Box::new(Redis::new(url, shared.lifetime).map_err(|failure| {
                    Error::invalid(
                        "XET_FFI_SHARED_CACHE",
                        format!("can't be used: {}", failure.why),
                    )
                })?)
            }
        };
        let (queue, published) = unbounded_channel();
        Ok(Arc::new(Self {
            place: shared.place.to_string(),
            keys: Keys::new(&shared.secret),
            store,
            reads: Breaker::default(),
            writes: Breaker::default(),
            pulse: Pulse::default(),
            getting: Semaphore::new(GETTING),
            room: Arc::new(Semaphore::new(ROOM)),
            queue,
            published: Mutex::new(Some(published)),
            is_publishing: AtomicBool::new(false),
            was_told: AtomicBool::new(false),
        }))
    }

    /// Where these chunks of a xorb may be had, in order, as far as they may. One question.
    pub(crate) async fn look(
        &self,
        xorb: &MerkleHash,
        chunks: &Range<u32>,
        counters: &Counters,
    ) -> Vec<Found> {
        let name = |chunks: Range<u32>| self.keys.name(xorb, chunks);
        let mut all: Vec<Found> = Vec::new();
        for cell in cells(chunks) {
            // Who may read the whole cell has left that; whose terms are the same as ours, just this.
            let whole = whole(cell.start);
            if cell != whole {
                all.push(Found { name: name(cell.clone()), chunks: cell.clone() });
            }
            all.push(Found { name: name(whole), chunks: cell });
        }
        let names: Vec<_> = all.iter().map(|found| found.name.clone()).collect();
        let asked = self.store.present(&names);
        let Some(present) = self.ask(&self.reads, Duration::ZERO, asked, Some(counters)).await
        else {
            return Vec::new();
        };
        let mut found: Vec<Found> =
            all.into_iter().zip(present).filter(|(_, is)| *is).map(|(found, _)| found).collect();
        found.dedup_by(|second, first| second.chunks == first.chunks);
        found
    }

    /// Those chunks, if they can be had.
    pub(crate) async fn piece(
        self: &Arc<Self>,
        xorb: &MerkleHash,
        found: &Found,
        counters: &Counters,
    ) -> Option<Piece> {
        // The answers to this process's own questions don't wait for each other in the store's time.
        let _turn = self.getting.acquire().await.ok()?;
        let asked = self.store.get(&found.name);
        let value = self.ask(&self.reads, LARGEST_TAKES, asked, Some(counters)).await??;
        match Piece::open(value, &found.name.chunks, &self.keys, xorb) {
            Ok(piece) => piece.cut(&found.chunks),
            Err(Damaged(why)) => {
                counters.add_tier_error();
                tracing::info!(xorb = %xorb.hex(), chunks = ?found.chunks, why, "a shared piece is damaged");
                let (tier, name) = (Arc::clone(self), found.name.clone());
                tokio::spawn(async move {
                    let removed = tier.store.remove(&name);
                    let _ = tier.ask(&tier.writes, BEHIND, removed, None).await;
                });
                None
            }
        }
    }

    /// Room for so many bytes to be published, if there is some, and any use in it.
    pub(crate) fn room(&self, bytes: usize) -> Option<Room> {
        if self.writes.is_open() {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(units).ok().map(Room)
    }

    /// Has chunks of a xorb published that somebody vouches for: those with the numbers `chunks`, one part each, of
    /// which the first begins at `offset` of the serialised xorb. Waits for nothing.
    pub(crate) fn publish(
        &self,
        xorb: MerkleHash,
        chunks: Range<u32>,
        offset: u64,
        parts: Vec<Bytes>,
        (room, lease): (Room, Option<Arc<Lease>>),
    ) {
        let name = self.keys.name(&xorb, chunks);
        // Nobody takes it if the process is ending.
        let _ = self.queue.send(Publication { name, xorb, offset, parts, room, lease });
    }

    /// Begins to publish, once in a process. To be called on the runtime.
    pub(crate) fn begin_publishing(self: &Arc<Self>) {
        if self.is_publishing.swap(true, Ordering::Relaxed) {
            return;
        }
        let tier = Arc::downgrade(self);
        let Some(mut published) = self.published.try_lock().ok().and_then(|mut all| all.take())
        else {
            return;
        };
        tokio::spawn(async move {
            let publications =
                futures_util::stream::poll_fn(move |context| published.poll_recv(context));
            publications
                .for_each_concurrent(WRITERS, |publication| {
                    let tier = tier.upgrade();
                    async move {
                        if let Some(tier) = tier {
                            tier.put(publication).await;
                        }
                    }
                })
                .await;
        });
    }

    async fn put(&self, publication: Publication) {
        let Publication { name, xorb, offset, parts, room, lease } = publication;
        if self.writes.is_open() {
            return;
        }
        let sealed = Piece::seal(&name.chunks, offset, &parts, &self.keys, &xorb);
        drop(parts);
        if let Some(sealed) = sealed {
            let _ = self.ask(&self.writes, BEHIND, self.store.put(&name, sealed), None).await;
        }
        drop((room, lease));
    }

    /// Whether this node is to fetch these chunks of a xorb, of all that want them. To be called on the runtime.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        xorb: &MerkleHash,
        chunks: &Range<u32>,
        counters: &Counters,
    ) -> Claim {
        if self.writes.is_open() {
            return Claim::Unknown;
        }
        let (name, token) = (self.keys.name(xorb, chunks.clone()), Lease::token());
        let claimed = self.store.claim(&name, &token, lease::LASTS);
        match self.ask(&self.reads, Duration::ZERO, claimed, Some(counters)).await {
            None => Claim::Unknown,
            Some(false) => Claim::Others,
            Some(true) => Claim::Mine(Lease::keep(Arc::clone(self), name, token, self.room(1))),
        }
    }

    /// Waits until all is published that was to be, on `runtime`, but no longer than `limit`. Blocks.
    pub(crate) fn drain_by(&self, runtime: &Handle, limit: Duration) {
        if self.room.available_permits() == ROOM || self.writes.is_open() {
            return;
        }
        let room = Arc::clone(&self.room);
        let (tell, is_done) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let all = u32::try_from(ROOM).unwrap_or(u32::MAX);
            drop(room.acquire_many(all).await);
            // Nobody may wait any more.
            let _ = tell.send(());
        });
        if is_done.recv_timeout(limit).is_err() {
            tracing::info!(place = self.place, "not all that was fetched could be shared in time");
        }
    }

    /// What the store answers in time, if it's asked at all. `more`: how much longer that may take than an answer without
    /// a value. Failures count for whose `counters` these are.
    async fn ask<T>(
        &self,
        breaker: &Breaker,
        more: Duration,
        asked: impl Future<Output = Result<T, Failure>>,
        counters: Option<&Counters>,
    ) -> Option<T> {
        if !breaker.admits() {
            return None;
        }
        let stopped = Stopped(Some(breaker));
        let (mut asked, mut waiting) = (std::pin::pin!(asked), self.pulse.wait(more));
        let answered = loop {
            match tokio::time::timeout(waiting.patience(), &mut asked).await {
                Ok(answered) => break answered,
                Err(_) if waiting.goes_on() => {}
                Err(_) => {
                    let why = format!("no answer within {:.1?}", waiting.so_far());
                    break Err(Failure::silence(why));
                }
            }
        };
        stopped.goes_on();
        let failure = match answered {
            Ok(answer) => {
                self.pulse.beat();
                if breaker.answered() {
                    tracing::info!(place = self.place, "the shared cache is of use again");
                }
                return Some(answer);
            }
            Err(failure) => failure,
        };
        if let Some(counters) = counters {
            counters.add_tier_error();
        }
        let is_alive = failure.is_of_writes && !std::ptr::eq(breaker, &raw const self.writes);
        if is_alive {
            // What takes nothing may still give, and has answered.
            self.pulse.beat();
            breaker.answered();
        }
        let breaker = if failure.is_of_writes { &self.writes } else { breaker };
        if breaker.failed(&failure) {
            let (place, why) = (&self.place, &failure.why);
            let what = if failure.is_of_writes { "takes nothing" } else { "is out of reach" };
            if self.was_told.swap(true, Ordering::Relaxed) {
                tracing::info!(place, why, "the shared cache {what}; going on without it");
            } else {
                tracing::warn!(place, why, "the shared cache {what}; going on without it");
            }
        }
        None
    }
}

/// One who asks, and may be stopped while he does.
struct Stopped<'a>(Option<&'a Breaker>);

impl Stopped<'_> {
    fn goes_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0 {
            breaker.dropped();
        }
    }
}

impl Room {
    /// Together with another one.
    pub(crate) fn add(&mut self, more: Self) {
        self.0.merge(more.0);
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier").field("place", &self.place).finish_non_exhaustive()
    }
}
