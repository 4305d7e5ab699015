//! The network half of an attempt at a fetch: what other nodes have left of it, and the rest from storage.
//!
//! Of what isn't there, one of the nodes that come at the same time fetches, and leaves it piece by piece; the others
//! follow. They don't depend on it: who gets nothing for too long fetches for himself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::ChunkSink;
use super::fetcher::Fetcher;
use super::writer::{Arrived, Origin};
use crate::cas::Opened;
use crate::cas::block::Fetch;
use crate::cas::sharing::Sharing;
use crate::http::origin::{authority, bare};
use crate::model::error::{Error, Kind, Result};
use crate::tier::{Claim, Found, Lease, Piece};

/// So many answers are asked for in one attempt. What gives less than this part of a xorb at once is a trickle.
const MOST_ANSWERS: usize = 256;

/// What shows that a stream gets on, in bytes.
pub(super) const GETS_ON: u64 = 1 << 20;

/// What comes from other nodes at once is cut into slices of some such length, in bytes: few of them wait for a writer.
const SLICE: usize = 512 << 10;

/// How long to wait before the next look at what another node has left. From the first to the longest it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How long one waits for the next piece of a fetch that another node has taken on, however the rest of the call gets on.
/// A stream of that node's from which nothing comes for so long is given up by it, too.
const LONGEST: Duration = Duration::from_secs(10);

/// Receives one fetch.
pub(super) struct Receiving<'a, S> {
    pub(super) fetcher: &'a Fetcher<S>,
    pub(super) fetch: &'a Fetch,
    /// What other nodes know it as: the numbers of its chunks.
    pub(super) named: &'a Range<u32>,
    pub(super) pieces: Pieces,
    /// This node's, while others wait for what it fetches.
    pub(super) lease: Option<Arc<Lease>>,
    /// Storage has been asked.
    pub(super) asks_storage: bool,
}

/// How one goes on who waits for another node.
struct Following {
    pause: Duration,
    /// Since when nothing of this fetch has come.
    since: Instant,
    /// Others do fetch it; and nobody could be asked the last time.
    is_begun: bool,
    is_unknown: bool,
}

/// Where the pieces of a body go.
pub(super) enum Pieces {
    /// To a writer that takes them as they come.
    To(mpsc::Sender<Arrived>),
    /// Nowhere before all are there.
    Held(Vec<Arrived>),
}

impl Pieces {
    pub(super) fn held(self) -> Vec<Arrived> {
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

impl<S: ChunkSink> Receiving<'_, S> {
    /// All of it from storage, of which the first answer is `opened`.
    pub(super) async fn receive(&mut self, opened: Opened) -> Result<()> {
        self.receive_part(self.fetch.bytes, Some(opened)).await.map(drop)
    }

    /// What other nodes have left of it, or are about to leave, and the rest from storage. `found`: what there is now.
    pub(super) async fn receive_shared(
        &mut self,
        sharing: &Sharing,
        found: Vec<Found>,
    ) -> Result<()> {
        let (mut found, mut fetches) = (VecDeque::from(found), self.lease.is_some());
        let (mut next, mut at) = (self.fetch.chunks.start, self.fetch.bytes.0);
        let mut following = Following::new();
        loop {
            // What others have left; and with the turn to fetch, what is between that.
            while found.front().is_some_and(|one| one.start() == next || fetches)
                && let Some(one) = found.pop_front()
            {
                let Some(piece) = self.piece(sharing, &one, (next, at)).await else { continue };
                if piece.offset > at && !self.receive_part((at, piece.offset - 1), None).await? {
                    // What follows doesn't belong there.
                    return Ok(());
                }
                (next, at) = (piece.chunks.end, piece.end());
                following = Following::new();
                if !self.hand_over_piece(piece).await {
                    return Ok(());
                }
            }
            if at > self.fetch.bytes.1 {
                return Ok(());
            }
            if fetches {
                return self.receive_part((at, self.fetch.bytes.1), None).await.map(drop);
            }
            fetches = self.turn(sharing, &mut following).await;
            // Whoever had the turn before may have left all of it.
            found = self.look(sharing, next..self.fetch.chunks.end).await.into();
        }
    }

    /// Whether this node is to fetch what is missing. If not, another one does, and there has been a pause.
    async fn turn(&mut self, sharing: &Sharing, following: &mut Following) -> bool {
        let task = self.fetcher.sink.task();
        match self.fetcher.claim(self.fetch, self.named).await {
            Claim::Mine(lease) => {
                self.lease = Some(self.fetcher.lend(self.fetch, self.named, lease));
                return true;
            }
            // Whoever fetched goes on, perhaps, though nobody could be asked once.
            Claim::Unknown if !following.is_begun || following.is_unknown => return true,
            Claim::Unknown => following.is_unknown = true,
            Claim::Others => (following.is_begun, following.is_unknown) = (true, false),
        }
        if following.since.elapsed() >= LONGEST || !sharing.may_wait(&task.call) {
            let xorb = self.fetch.xorb.hex();
            tracing::debug!(xorb, "another node takes too long; fetching alone");
            return true;
        }
        let what = format!("another node to fetch from xorb {}", self.fetch.xorb.hex());
        let _waiting = task.call.counters.waits.begin(what, Duration::ZERO);
        // Not all of a fleet at the same moment.
        tokio::time::sleep(following.pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        following.pause = (following.pause * 2).min(LONGEST_PAUSE);
        false
    }

    async fn look(&self, sharing: &Sharing, chunks: Range<u32>) -> Vec<Found> {
        let counters = self.fetcher.sink.task().progress.counters();
        sharing.tier().look(&self.fetch.xorb, &chunks, counters).await
    }

    /// What other nodes have left, if it fits behind what has come: up to the chunk `next`, and to the byte `at` of the
    /// serialised xorb.
    async fn piece(
        &self,
        sharing: &Sharing,
        found: &Found,
        (next, at): (u32, u64),
    ) -> Option<Piece> {
        let (fetch, counters) = (self.fetch, self.fetcher.sink.task().progress.counters());
        let piece = sharing.tier().piece(&fetch.xorb, found, counters).await?;
        let starts = if piece.chunks.start == next {
            piece.offset == at
        } else {
            piece.chunks.start > next && piece.offset > at
        };
        let ends = if piece.chunks.end == fetch.chunks.end {
            piece.end() == fetch.bytes.1 + 1
        } else {
            piece.chunks.end < fetch.chunks.end && piece.end() <= fetch.bytes.1
        };
        if starts && ends {
            return Some(piece);
        }
        counters.add_tier_error();
        tracing::info!(xorb = %fetch.xorb.hex(), chunks = ?piece.chunks, "a shared piece is of another place");
        None
    }

    async fn hand_over_piece(&mut self, piece: Piece) -> bool {
        self.fetcher.sink.task().progress.add_shared(piece.bytes.len() as u64);
        for bytes in piece.into_slices(SLICE) {
            if !self.hand_over(Arrived { bytes, from: Origin::Tier }).await {
                return false;
            }
        }
        true
    }

    /// The bytes of the xorb from the first to the last of these, both included, from storage. An answer that gives
    /// honestly less than it was asked for is asked on from where it ended; `opened` is the first, if there is one. False: it
    /// didn't come to the last of them, and the writer says why.
    async fn receive_part(
        &mut self,
        (mut from, last): (u64, u64),
        mut opened: Option<Opened>,
    ) -> Result<bool> {
        let (fetcher, fetch) = (self.fetcher, self.fetch);
        self.asks_storage = true;
        if let (Some(publication), Some(span)) = (&fetcher.publication, fetch.span()) {
            publication.prove(&fetcher.cas, span, &fetcher.sink.task().call);
        }
        for _ in 0..MOST_ANSWERS {
            let answer = if let Some(opened) = opened.take() {
                opened
            } else {
                fetcher.open(fetch, (from, last)).await?
            };
            let promised = answer.length;
            let taken = self.hand_on(from - fetch.bytes.0, answer).await?;
            let Taken::All(taken) = taken else { return Ok(false) };
            from += taken;
            // Of one that ends in the middle, the writer says what is wrong.
            if taken < promised || from > last {
                return Ok(from > last);
            }
            tracing::debug!(xorb = %fetch.xorb.hex(), from, "asking for the rest of a range");
        }
        let url = &fetch.url.0;
        let message =
            format!("{} gives too little of xorb {} at a time", authority(url), fetch.xorb.hex());
        Err(Error::new(Kind::Connection, message).with(|c| c.url = Some(bare(url))))
    }

    /// Hands on the bytes of one answer, before which so many of the fetch came, up to as many as it says that it
    /// has. What comes behind them is none of ours.
    async fn hand_on(&mut self, before: u64, mut opened: Opened) -> Result<Taken> {
        let mut taken = 0;
        while let Some(piece) = opened.body.next().await {
            let mut piece = piece?;
            self.fetcher.sink.task().progress.add_network(piece.len() as u64);
            piece.truncate(usize::try_from(opened.length - taken).unwrap_or(usize::MAX));
            if piece.is_empty() {
                break;
            }
            let at = before + taken;
            taken += piece.len() as u64;
            if at / GETS_ON < (before + taken) / GETS_ON {
                self.fetcher.cas.comes_from(&self.fetch.url.0);
            }
            if !self.hand_over(Arrived { bytes: piece, from: Origin::Storage }).await {
                return Ok(Taken::Unwanted);
            }
        }
        if taken == 0 { Err(is_empty(self.fetch)) } else { Ok(Taken::All(taken)) }
    }

    /// False: the writer has failed, and says why.
    async fn hand_over(&mut self, arrived: Arrived) -> bool {
        match &mut self.pieces {
            Pieces::Held(pieces) => {
                pieces.push(arrived);
                true
            }
            Pieces::To(queue) => self.fetcher.sink.task().hand_over(queue, arrived).await,
        }
    }
}

impl Following {
    fn new() -> Self {
        Self { pause: FIRST_PAUSE, since: Instant::now(), is_begun: false, is_unknown: false }
    }
}

/// The error for an answer that had a head and nothing else, whatever it said.
fn is_empty(fetch: &Fetch) -> Error {
    let url = &fetch.url.0;
    let message = format!("{} sent nothing of xorb {}", authority(url), fetch.xorb.hex());
    Error::new(Kind::Connection, message).with(|c| c.url = Some(bare(url)))
}
