//! The line that all answers of an origin go out on together: so many bytes in a second, and no more.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::sync::lock;

/// What the line allows; no number: anything.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Speed {
    /// Of all answers together.
    pub(crate) bytes_per_second: Option<u32>,
}

/// A line. Whoever sends waits for his turn.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    speed: Speed,
    /// When what has been sent so far has left.
    free: Option<Instant>,
}

impl Line {
    pub(crate) fn set(&self, speed: Speed) {
        *lock(&self.0) = State { speed, free: None };
    }

    /// Waits until so many bytes have left.
    pub(crate) async fn send(&self, bytes: usize) {
        let until = {
            let mut state = lock(&self.0);
            let Some(speed) = state.speed.bytes_per_second.filter(|&speed| speed > 0) else {
                return;
            };
            let now = Instant::now();
            let takes = Duration::from_secs(bytes as u64) / speed;
            let free = state.free.map_or(now, |free| free.max(now)) + takes;
            state.free = Some(free);
            free
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that share it take as long together as one after the other; without a speed, nobody waits.
    #[tokio::test]
    async fn a_line_is_shared() {
        let line = Line::default();
        line.send(usize::MAX).await;
        line.set(Speed { bytes_per_second: Some(1000) });
        let begun = Instant::now();
        tokio::join!(line.send(30), line.send(30), line.send(40));
        assert!(begun.elapsed() >= Duration::from_millis(100));
        line.set(Speed::default());
        line.send(usize::MAX).await;
    }
}
