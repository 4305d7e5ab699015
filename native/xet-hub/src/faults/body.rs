//! A body that misbehaves at chosen byte positions.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::Action;
use crate::net::ResetSwitch;

/// Pieces per second into which a dripping body is cut.
const DRIPS_PER_SECOND: u64 = 20;

/// How long what was sent gets to leave, before the connection is given up: hyper then drops what
/// it still holds.
const FLUSH: Duration = Duration::from_millis(20);

/// Gives `body` the faults of `action`. `reset` makes a cut a real connection reset.
pub(crate) fn faulty(body: Body, action: Action, reset: ResetSwitch) -> Body {
    let state = Faulty {
        inner: body.into_data_stream(),
        pending: Bytes::new(),
        position: 0,
        stalled: false,
        action,
        reset,
    };
    Body::from_stream(futures_util::stream::unfold(state, |mut state| async move {
        Some((state.next().await?, state))
    }))
}

struct Faulty {
    inner: BodyDataStream,
    pending: Bytes,
    position: u64,
    stalled: bool,
    action: Action,
    reset: ResetSwitch,
}

impl Faulty {
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        if self.action.truncate == Some(self.position) {
            return None;
        }
        if self.action.cut_after_bytes == Some(self.position) {
            tokio::time::sleep(FLUSH).await;
            self.reset.arm();
            return Some(Err(axum::Error::new(std::io::Error::other("cut on request"))));
        }
        if self.action.close_after_bytes == Some(self.position) {
            tokio::time::sleep(FLUSH).await;
            // The body ends before its Content-Length, so hyper gives the connection up.
            return Some(Err(axum::Error::new(std::io::Error::other("closed on request"))));
        }
        if self.action.stall_after_bytes == Some(self.position) && !self.stalled {
            self.stalled = true;
            match self.action.secs {
                Some(secs) => tokio::time::sleep(Duration::from_secs_f64(secs)).await,
                None => std::future::pending().await,
            }
        }
        while self.pending.is_empty() {
            match self.inner.next().await? {
                Ok(bytes) => self.pending = bytes,
                Err(error) => return Some(Err(error)),
            }
        }
        let mut piece = self.pending.split_to(self.piece_length());
        if let Some(drip) = self.action.drip {
            let seconds =
                Duration::from_secs(piece.len() as u64) / u32::try_from(drip).unwrap_or(u32::MAX);
            tokio::time::sleep(seconds).await;
        }
        if let Some(at) = self.action.corrupt_byte.and_then(|at| at.checked_sub(self.position))
            && let Ok(at) = usize::try_from(at)
            && at < piece.len()
        {
            let mut corrupt = BytesMut::from(&piece[..]);
            corrupt[at] = !corrupt[at];
            piece = corrupt.freeze();
        }
        self.position += piece.len() as u64;
        Some(Ok(piece))
    }

    /// How much of the pending bytes can go out before the next thing happens.
    fn piece_length(&self) -> usize {
        let action = &self.action;
        let stops = [
            action.truncate,
            action.cut_after_bytes,
            action.close_after_bytes,
            action.stall_after_bytes,
        ];
        let distances = stops.into_iter().flatten().filter_map(|at| at.checked_sub(self.position));
        let drip = action.drip.map(|drip| (drip / DRIPS_PER_SECOND).max(1));
        let limit = distances.filter(|&distance| distance > 0).chain(drip).min();
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        self.pending.len().min(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(action: Action) -> (Vec<u8>, bool) {
        let body = Body::from_stream(futures_util::stream::iter(
            [&b"0123"[..], b"", b"456789"].map(|piece| Ok::<_, axum::Error>(Bytes::from(piece))),
        ));
        let mut stream = faulty(body, action, ResetSwitch::default()).into_data_stream();
        let mut found = Vec::new();
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(piece) => found.extend_from_slice(&piece),
                Err(_) => return (found, true),
            }
        }
        (found, false)
    }

    fn action(json: serde_json::Value) -> Action {
        serde_json::from_value(json).unwrap()
    }

    /// A cut ends in an error after exactly the bytes asked for, wherever the pieces end.
    #[tokio::test]
    async fn a_cut_comes_at_its_byte() {
        for how in ["cut_after_bytes", "close_after_bytes"] {
            for at in [0_usize, 3, 4, 7] {
                let (found, failed) = read(action(serde_json::json!({how: at}))).await;
                assert_eq!((found.as_slice(), failed), (&b"0123456789"[..at], true));
            }
        }
    }

    /// A truncated body ends without an error.
    #[tokio::test]
    async fn a_truncated_body_looks_complete() {
        let (found, failed) = read(action(serde_json::json!({"truncate": 5}))).await;
        assert_eq!((found.as_slice(), failed), (&b"01234"[..], false));
    }

    /// One byte is changed and the length stays.
    #[tokio::test]
    async fn one_byte_is_corrupted() {
        let (found, failed) = read(action(serde_json::json!({"corrupt_byte": 6}))).await;
        assert_eq!(found.iter().zip(b"0123456789").filter(|(a, b)| a != b).count(), 1);
        assert_eq!((found[6], found.len(), failed), (!b'6', 10, false));
    }

    /// A stall holds back the rest, and a drip spreads the whole over time.
    #[tokio::test(start_paused = true)]
    async fn stalls_and_drips_take_their_time() {
        let before = tokio::time::Instant::now();
        let (found, _) =
            read(action(serde_json::json!({"stall_after_bytes": 4, "secs": 30}))).await;
        assert_eq!(found, b"0123456789");
        assert!(before.elapsed() >= Duration::from_secs(30));
        let before = tokio::time::Instant::now();
        let (found, _) = read(action(serde_json::json!({"drip": 1}))).await;
        assert_eq!(found, b"0123456789");
        assert!(before.elapsed() >= Duration::from_secs(10));
    }
}
