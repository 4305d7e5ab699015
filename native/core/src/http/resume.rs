//! How long something that is taken up where it broke off is tried again.

use std::time::Instant;

use super::RetryPolicy;
use crate::call::progress::Counters;
use crate::model::error::{Error, Kind, Result};

/// The failures in a row of one stream.
pub(crate) struct Retry {
    policy: RetryPolicy,
    /// Bytes per second that are too few, as for a body.
    min_speed: u32,
    failures: u32,
    /// When the attempt began; the pause before it is part of it.
    begun: Instant,
}

impl Retry {
    /// What makes an attempt worthwhile, however it ended. A server that stalls again and again
    /// after a few bytes would otherwise be tried for ever.
    const WORTHWHILE: u64 = 4 << 20;

    pub(crate) fn new(policy: RetryPolicy, min_speed: u32) -> Self {
        Self { policy, min_speed, failures: 0, begun: Instant::now() }
    }

    /// Waits for the next attempt after one that failed with `error` and had brought `brought`
    /// bytes; gives the error back when there is to be none. An attempt that got on isn't counted
    /// against the stream, unless it stalled, or was so short and so slow that many of them would be
    /// no better than a trickle.
    pub(crate) async fn pause(
        &mut self,
        error: Error,
        brought: u64,
        counters: &Counters,
    ) -> Result<()> {
        let stalled = error.kind() == Kind::Timeout;
        if stalled {
            counters.add_stall();
            counters.add_silence(self.begun);
        }
        let enough = u128::from(self.min_speed) * self.begun.elapsed().as_millis();
        let trickled = u128::from(brought) * 1000 < enough;
        let got_on = brought >= Self::WORTHWHILE || (brought > 0 && !stalled && !trickled);
        if self.policy.held_back(&error, counters).is_some() {
            // None of the stream's failures, nor is it slow because of that.
            let waited = self.policy.pause(self.failures, error, counters).await;
            self.begun = Instant::now();
            return waited;
        }
        self.failures = if got_on { 1 } else { self.failures + 1 };
        self.begun = Instant::now();
        self.policy.pause(self.failures, error, counters).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many attempts there are, 100 at most, if each ends with `error` after `brought` bytes.
    async fn attempts(error: Error, brought: u64, min_speed: u32) -> u32 {
        let pause = Duration::from_millis(2);
        let policy = RetryPolicy { attempts: 5, base: pause, cap: pause, waits_out: true };
        let mut retry = Retry::new(policy, min_speed);
        for attempt in 1..100 {
            if retry.pause(error.clone(), brought, &Counters::default()).await.is_err() {
                return attempt;
            }
        }
        100
    }

    /// A stream is taken up for as long as that gets it anywhere.
    #[tokio::test]
    async fn what_gets_on_is_tried_for_longer() {
        let cut = || Error::new(Kind::Connection, "cut");
        let stall = || Error::new(Kind::Timeout, "stalled");
        assert_eq!(attempts(cut(), 0, 0).await, 5);
        assert_eq!(attempts(cut(), 1, 0).await, 100);
        assert_eq!(attempts(cut(), 100_000, 2048).await, 100);
        // Silence has fewer attempts than failures that are quick.
        assert_eq!(attempts(stall(), 100_000, 2048).await, 3);
        assert_eq!(attempts(stall(), Retry::WORTHWHILE, 2048).await, 100);
    }

    /// A byte for each attempt is a trickle, and no more welcome than in one piece.
    #[tokio::test]
    async fn a_trickle_in_many_streams_is_given_up() {
        assert_eq!(attempts(Error::new(Kind::Connection, "cut"), 1, 50_000).await, 5);
    }
}
