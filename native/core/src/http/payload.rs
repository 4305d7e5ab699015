//! What a request carries: nothing, a few bytes, or content that is read while it is sent.
//!
//! Content may be large, so the deadline of other requests for the head of the answer is none for
//! it: that would count the time of sending. Instead a pulse is felt: content that nobody takes any
//! more of, or an answer that doesn't come after the last of it, ends the request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use crate::model::error::{Error, Kind, Result};

/// The body of a request.
#[derive(Clone, Debug, Default)]
pub enum Payload {
    /// None.
    #[default]
    Empty,
    /// Held in memory.
    Bytes(Bytes),
    /// Read while it is sent.
    Stream(Outgoing),
}

/// Content that is read anew for each attempt to send it.
#[derive(Clone)]
pub struct Outgoing {
    open: Arc<dyn Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync>,
    length: Option<u64>,
    patience: Patience,
}

/// How long a server that is sent content may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time in which it takes no more of the content.
    pub sending: Duration,
    /// Longest wait for the answer, once it has taken all.
    pub answer: Duration,
    /// The same where the content went out so slowly that some of it may still be on its way: what is
    /// taken from us is in the system's hands first.
    pub slow_answer: Duration,
}

/// What the system takes of a connection's content before it has sent it: Linux's default for the
/// largest send buffer (`tcp_wmem`).
const BUFFERED: u128 = 4 << 20;

/// How long what the system has of a connection's content takes to be sent, if it took all `bytes` of it in
/// the time of `taken`.
pub(crate) fn left_to_send(bytes: u64, taken: Duration) -> Duration {
    let bytes = u128::from(bytes.max(1));
    let left = taken.as_millis() * bytes.min(BUFFERED) / bytes;
    Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX))
}

impl Outgoing {
    /// Content of `length` bytes (`None`: unknown beforehand), which `open` begins to read.
    pub fn new(
        length: Option<u64>,
        patience: Patience,
        open: impl Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Arc::new(open), length, patience }
    }

    /// Its length, if that is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How long the server may be silent after the last sign of life. After all is sent, that is longer by
    /// what the system's buffer takes to be sent, at the speed of the rest.
    pub(super) fn limit(&self, felt: &Felt) -> Duration {
        let Patience { sending, answer, slow_answer } = self.patience;
        if !felt.finished {
            return sending;
        }
        let left = left_to_send(felt.bytes as u64, felt.last.duration_since(felt.begun));
        answer.saturating_add(left).min(slow_answer.max(answer))
    }

    /// A body for one attempt, and the hand on its pulse. Nobody asks a body of known length what
    /// comes after its last byte, so that byte is its end.
    pub(super) fn body(&self) -> (reqwest::Body, Arc<Pulse>) {
        let pulse = Arc::new(Pulse::new());
        let (felt, ended) = (Arc::clone(&pulse), Arc::clone(&pulse));
        let mut left = self.length;
        if left == Some(0) {
            pulse.finish();
        }
        let pieces = (self.open)().map(move |piece| {
            let piece = felt.beat(piece);
            if let (Some(left), Ok(piece)) = (&mut left, &piece) {
                *left = left.saturating_sub(piece.len() as u64);
                if *left == 0 {
                    felt.finish();
                }
            }
            piece
        });
        let end = futures_util::stream::poll_fn(move |_| {
            ended.finish();
            std::task::Poll::Ready(None)
        });
        (reqwest::Body::wrap_stream(pieces.chain(end)), pulse)
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Whether a body is still being taken.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<(Felt, Option<Error>)>);

/// The signs of life so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Felt {
    begun: Instant,
    /// When something was taken last.
    last: Instant,
    bytes: usize,
    /// Whether that was the end of it.
    pub(super) finished: bool,
}

/// Stands in for our error inside the body stream; the real one is in the pulse.
#[derive(Debug, thiserror::Error)]
#[error("the content can't be read")]
struct Unreadable;

impl Felt {
    /// When the server is silent for longer than `limit`.
    pub(super) fn due(&self, limit: Duration) -> Instant {
        self.last + limit
    }
}

impl Pulse {
    fn new() -> Self {
        let begun = Instant::now();
        Self(Mutex::new((Felt { begun, last: begun, bytes: 0, finished: false }, None)))
    }

    pub(super) fn feel(&self) -> Felt {
        self.felt().0
    }

    /// Why the body broke off, if that was our side's fault.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.felt().1.take()
    }

    fn beat(&self, piece: Result<Bytes>) -> Result<Bytes, Unreadable> {
        let (felt, broken) = &mut *self.felt();
        felt.last = Instant::now();
        felt.bytes += piece.as_ref().map_or(0, Bytes::len);
        piece.map_err(|error| {
            *broken = Some(error);
            Unreadable
        })
    }

    fn finish(&self) {
        let (felt, _) = &mut *self.felt();
        (felt.last, felt.finished) = (Instant::now(), true);
    }

    fn felt(&self) -> MutexGuard<'_, (Felt, Option<Error>)> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a server that stopped taking content, or doesn't answer to it.
pub(super) fn stalled(host: &str, finished: bool, limit: Duration) -> Error {
    let what = if finished { "sent no answer to it for" } else { "took nothing more of it for" };
    Error::new(Kind::Timeout, format!("{host} was sent content, but {what} {limit:?}"))
}
