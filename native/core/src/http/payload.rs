//! What a request carries: nothing, a few bytes, or content that is read while it is sent.
//!
//! Content may be large, so the deadline of other requests for the head of the answer is none for
//! it: that would count the time of sending. Instead a pulse is felt: content that nobody takes any
//! more of, or an answer that doesn't come after the last of it, ends the request.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// Longest wait for the answer, once all is sent.
    pub answer_timeout: Duration,
}

impl Outgoing {
    /// Content of `length` bytes (`None`: unknown beforehand), which `open` begins to read.
    pub fn new(
        length: Option<u64>,
        answer_timeout: Duration,
        open: impl Fn() -> BoxStream<'static, Result<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Arc::new(open), length, answer_timeout }
    }

    /// Its length, if that is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// A body for one attempt, and the hand on its pulse. Nobody asks a body of known length what
    /// comes after its last byte, so that byte is its end.
    pub(super) fn body(&self) -> (reqwest::Body, Arc<Pulse>) {
        let pulse = Arc::new(Pulse::default());
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
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Odd once the end was reached; grows with each piece.
    beats: AtomicU64,
    broken: Mutex<Option<Error>>,
}

/// Stands in for our error inside the body stream; the real one is in the pulse.
#[derive(Debug, thiserror::Error)]
#[error("the content can't be read")]
struct Unreadable;

impl Pulse {
    /// Pieces so far; changes whenever something was taken.
    pub(super) fn count(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Whether all of the body was taken.
    pub(super) fn is_finished(&self) -> bool {
        self.count() % 2 == 1
    }

    /// Why the body broke off, if that was our side's fault.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn beat(&self, piece: Result<Bytes>) -> Result<Bytes, Unreadable> {
        self.beats.fetch_add(2, Ordering::Relaxed);
        piece.map_err(|error| {
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Unreadable
        })
    }

    fn finish(&self) {
        self.beats.fetch_or(1, Ordering::Relaxed);
    }
}

/// The error for a server that stopped taking content, or doesn't answer to it.
pub(super) fn stalled(host: &str, finished: bool, limit: Duration) -> Error {
    let what = if finished { "sent no answer to it for" } else { "took nothing more of it for" };
    Error::new(Kind::Timeout, format!("{host} was sent content, but {what} {limit:?}"))
}
