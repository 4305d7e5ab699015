//! How long something that is taken up where it broke off is tried again.

use crate::error::{Error, Kind, Result};
use crate::net::RetryPolicy;
use crate::progress::Counters;

/// The failures in a row of one stream.
pub(super) struct Tries {
    policy: RetryPolicy,
    failures: u32,
}

impl Tries {
    /// What makes an attempt worthwhile, however it ended. A server that stalls again and again
    /// after a few bytes would otherwise be tried for ever.
    const WORTHWHILE: u64 = 4 << 20;

    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Waits for the next attempt after one that failed with `error` and had brought `brought`
    /// bytes; gives the error back when there is to be none. An attempt that got on isn't counted
    /// against the stream, unless it stalled.
    pub(super) async fn pause(
        &mut self,
        error: Error,
        brought: u64,
        counters: &Counters,
    ) -> Result<()> {
        let stalled = error.kind() == Kind::Timeout;
        if stalled {
            counters.add_stall();
        }
        let got_on = brought >= Self::WORTHWHILE || (brought > 0 && !stalled);
        self.failures = if got_on { 1 } else { self.failures + 1 };
        self.policy.pause(self.failures, error, counters).await
    }
}
