//! What a request carries: nothing, a few bytes, or content that is read while it is sent.
//!
//! Content may be large, so the deadline of other requests for the head of the answer is none for
//! it: that would count the time of sending. Instead a pulse is felt: content that nobody takes any
//! more of, or an answer that doesn't come after the last of it, ends the request (see `line`).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

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
    may_be_sent_twice: bool,
}

/// How long a server that is sent content may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Longest time in which it takes no more of the content.
    pub sending: Duration,
    /// Longest wait for the answer, once it has taken all.
    pub answer: Duration,
}

/// What may be on its way between an acknowledgement and the server: in the hands of a proxy, a gateway, or
/// the server's own system.
const BETWEEN: u128 = 1 << 20;

/// `limit`, and the time in which that is passed on if `bytes` took so long to be taken; at most twice the
/// limit. A fast line is none the slower for it.
pub(crate) fn with_time_to_pass(limit: Duration, bytes: u64, taken: Duration) -> Duration {
    let bytes = u128::from(bytes.max(1));
    let passing = taken.as_millis() * bytes.min(BETWEEN) / bytes;
    // Whole tenths of a second, for those who read of it.
    let passing = u64::try_from(passing).unwrap_or(u64::MAX) / 100 * 100;
    let passing = Duration::from_millis(passing);
    limit.saturating_add(passing.min(limit))
}

/// More than the buffers of a connection that nobody reads from.
const MUCH: usize = 8 << 20;

/// What is handed over at a time of what is in memory.
const SLICE: usize = 16 << 10;

impl Outgoing {
    /// Content of `length` bytes (`None`: unknown beforehand), which `open` begins to read.
    pub fn new(
        length: Option<u64>,
        patience: Patience,
        open: impl Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Arc::new(open), length, patience, may_be_sent_twice: false }
    }

    /// The same for a request that does no harm if it's made twice: it goes out again if the connection, on which
    /// others were before, turns out to be closed.
    #[must_use]
    pub(crate) fn harmless(self) -> Self {
        Self { may_be_sent_twice: true, ..self }
    }

    pub(super) fn may_be_sent_twice(&self) -> bool {
        self.may_be_sent_twice
    }

    /// Content that is in memory.
    pub(super) fn of(bytes: Bytes, patience: Patience) -> Self {
        let length = bytes.len();
        Self::new(Some(length as u64), patience, move || {
            let bytes = bytes.clone();
            let slice = move |start: usize| Ok(bytes.slice(start..length.min(start + SLICE)));
            stream::iter((0..length).step_by(SLICE).map(slice)).boxed()
        })
    }

    /// Its length, if that is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How long the server may be silent after the last sign of life, if what was sent took until then to
    /// be acknowledged.
    pub(super) fn limit(&self, felt: &Felt, taken: Duration) -> Duration {
        let Patience { sending, answer } = self.patience;
        if felt.is_finished { with_time_to_pass(answer, felt.bytes as u64, taken) } else { sending }
    }

    /// A body for one attempt, and the hand on its pulse. Nobody asks a body of known length what
    /// comes after its last byte, so that byte is its end. `is_read`: whether there is nothing of the server's to read.
    pub(super) fn body(
        &self,
        is_read: impl Fn() -> bool + Clone + Send + Sync + 'static,
    ) -> (reqwest::Body, Arc<Pulse>) {
        let pulse = Arc::new(Pulse::default());
        let (felt, ended) = (Arc::clone(&pulse), Arc::clone(&pulse));
        let mut left = self.length;
        if left == Some(0) {
            pulse.finish();
        }
        let mut content = (self.open)();
        let read = Arc::clone(&pulse);
        let content = stream::poll_fn(move |context| {
            let piece = content.poll_next_unpin(context);
            read.is_read(piece.is_pending());
            piece
        });
        let looked_at = content.then(move |piece| {
            let is_read = is_read.clone();
            async move { after_a_look(piece, &is_read).await }
        });
        let pieces = looked_at.map(move |piece| {
            let piece = felt.beat(piece);
            if let (Some(left), Ok(piece)) = (&mut left, &piece) {
                *left = left.saturating_sub(piece.len() as u64);
                if *left == 0 {
                    felt.finish();
                }
            }
            piece
        });
        let end = stream::poll_fn(move |_| {
            ended.finish();
            Poll::Ready(None)
        });
        (reqwest::Body::wrap_stream(pieces.chain(end)), pulse)
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("length", &self.length).finish_non_exhaustive()
    }
}

/// How often, and how long after one another, a connection is looked at that has something to read: whoever reads it
/// may have to wait for a processor.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(1);

/// Hands a piece over once all that has come on the connection was read, if that is soon. A server may answer before
/// it has all, and close the connection: what is written then fails, and its answer is lost unless it was read
/// before. But whoever sends reads only when there is nothing to send.
async fn after_a_look(piece: Result<Bytes>, is_read: &impl Fn() -> bool) -> Result<Bytes> {
    tokio::task::yield_now().await;
    for _ in 0..LOOKS {
        if is_read() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    piece
}

/// Whether a body is still being taken.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<(Felt, Option<Error>)>);

/// What was taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Felt {
    bytes: usize,
    /// Whether more was asked for, and is still being read.
    pub(super) is_read: bool,
    /// Whether that was the end of it.
    pub(super) is_finished: bool,
}

/// Stands in for our error inside the body stream; the real one is in the pulse.
#[derive(Debug, thiserror::Error)]
#[error("the content can't be read")]
struct Unreadable;

impl Pulse {
    pub(super) fn feel(&self) -> Felt {
        self.felt().0
    }

    /// Whether more was taken than a system takes for a connection whose other side is gone.
    pub(super) fn has_taken_much(&self) -> bool {
        self.felt().0.bytes > MUCH
    }

    /// Why the body broke off, if that was our side's fault.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.felt().1.take()
    }

    fn beat(&self, piece: Result<Bytes>) -> Result<Bytes, Unreadable> {
        let (felt, broken) = &mut *self.felt();
        felt.bytes += piece.as_ref().map_or(0, Bytes::len);
        piece.map_err(|error| {
            *broken = Some(error);
            Unreadable
        })
    }

    fn is_read(&self, is_read: bool) {
        self.felt().0.is_read = is_read;
    }

    fn finish(&self) {
        self.felt().0.is_finished = true;
    }

    fn felt(&self) -> MutexGuard<'_, (Felt, Option<Error>)> {
        // Every change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a server that stopped taking content, or doesn't answer to it.
pub(super) fn stalled(host: &str, is_finished: bool, limit: Duration) -> Error {
    let what = if is_finished { "sent no answer to it for" } else { "took nothing more of it for" };
    Error::new(Kind::Timeout, format!("{host} was sent content, but {what} {limit:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A megabyte is passed on as slowly as the whole was taken, up to twice the limit; what went fast, or
    /// was little, adds nothing.
    #[test]
    fn what_is_between_has_its_time() {
        let limit = Duration::from_secs(45);
        for (bytes, taken, expected) in [
            (0, 0, 45_000),
            (1000, 90, 45_000),
            (1000, 2_000, 47_000),
            (10 << 20, 500, 45_000),
            (10 << 20, 100_000, 55_000),
            (2 << 20, 60_000, 75_000),
            (64 << 20, 3_600_000, 90_000),
            (u64::MAX, u64::MAX, 90_000),
        ] {
            let allowed = with_time_to_pass(limit, bytes, Duration::from_millis(taken));
            assert_eq!(allowed, Duration::from_millis(expected), "{bytes} {taken}");
        }
    }
}
