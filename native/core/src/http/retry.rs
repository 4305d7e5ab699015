//! Making a request again: how often, after what wait, and when not.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::call::progress::Counters;
use crate::config::Config;
use crate::model::error::{Error, Kind, Result};

/// How patiently a request is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further one.
    pub base: Duration,
    /// The longest such wait.
    pub cap: Duration,
}

impl RetryPolicy {
    /// The longest wait that a server may ask for. Beyond it the call fails and names the wait: a
    /// client that sleeps for minutes looks like one that hangs.
    pub const MAX_ASKED_WAIT: Duration = Duration::from_mins(1);

    /// The policy of a client: 0.5, 1, 2, 4, 8, 8, ... seconds between attempts.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            attempts: config.max_attempts,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(8),
        }
    }

    /// Runs `operation` until it succeeds, fails for good, or has failed `attempts` times; it is
    /// told the number of the attempt, from 1. `what` names it in the log ("list the files of model
    /// a/b"). Counts each retry in `counters`; the final error's context says how many attempts
    /// there were. Dropping the future stops it at once.
    pub async fn run<T, F, Fut>(
        self,
        counters: &Counters,
        what: &str,
        mut operation: F,
    ) -> Result<T>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        loop {
            let waiting = counters.waits.begin(format!("a chance to {what}"), Duration::ZERO);
            let begun = Instant::now();
            let outcome = operation(attempt).await;
            drop(waiting);
            counters.beat();
            let error = match outcome {
                Ok(value) => {
                    counters.answered();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if error.kind() == Kind::Timeout {
                counters.add_silence(begun);
            }
            let wait = (attempt < self.attempts_after(&error, counters))
                .then(|| self.wait_after(attempt, &error))
                .flatten();
            let Some(wait) = wait else {
                return Err(error.with(|c| c.attempts = Some(attempt)));
            };
            // A single retry is everyday life; more, or a long wait, is what a user wants to know.
            if attempt > 1 || wait > self.cap {
                tracing::warn!(attempt, of = self.attempts, ?wait, "can't {what} yet: {error}");
            } else {
                tracing::debug!(attempt, of = self.attempts, ?wait, "can't {what} yet: {error}");
            }
            rest(wait, counters).await;
            attempt += 1;
        }
    }

    /// For what is taken up where it broke off, rather than made again as a whole: waits after
    /// `failures` failures without progress, of which `error` is the last. Gives the error back
    /// when its attempts are used up, or when the server asks for a longer wait than
    /// [`MAX_ASKED_WAIT`](Self::MAX_ASKED_WAIT). Whether the failure is one that may pass is the
    /// caller's to know.
    pub async fn pause(self, failures: u32, error: Error, counters: &Counters) -> Result<()> {
        let wait = (failures < self.attempts_after(&error, counters))
            .then(|| self.asked_or_backoff(failures, &error));
        let Some(wait) = wait.flatten() else {
            return Err(error.with(|c| c.attempts = Some(failures)));
        };
        rest(wait, counters).await;
        Ok(())
    }

    /// How many attempts there may be in all, seen from a failure. A server that has kept silent for
    /// as long as it may, three times, isn't worth more of anyone's time.
    /// Nor is one that shares its patience with others who have used that up. And what makes no sense
    /// three times isn't a hiccup.
    fn attempts_after(self, error: &Error, counters: &Counters) -> u32 {
        const FEW: u32 = 3;
        match error.kind() {
            Kind::Timeout if counters.is_out_of_patience() => 0,
            Kind::Timeout | Kind::InvalidResponse => self.attempts.min(FEW),
            _ => self.attempts,
        }
    }

    /// How long to wait after attempt number `attempt` has failed with `error`; `None`: give up.
    fn wait_after(self, attempt: u32, error: &Error) -> Option<Duration> {
        if is_worth_retrying(error) { self.asked_or_backoff(attempt, error) } else { None }
    }

    /// The wait that the server asked for, else our own; `None` if it asked for too much.
    fn asked_or_backoff(self, attempt: u32, error: &Error) -> Option<Duration> {
        match error.context().retry_after {
            Some(seconds) if seconds > 0 => {
                let asked = Duration::from_secs(seconds);
                // The server counts in whole seconds and many clients wait for the same one: a
                // little more than asked.
                (asked <= Self::MAX_ASKED_WAIT).then(|| asked + jitter(Duration::from_secs(1)))
            }
            _ => Some(jitter(self.backoff(attempt))),
        }
    }

    /// The wait after attempt number `attempt`, before jitter.
    fn backoff(self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// The wait before a request is made again, which this counts.
async fn rest(wait: Duration, counters: &Counters) {
    counters.add_retry();
    let _waiting = counters.waits.begin("the time for another attempt", wait);
    tokio::time::sleep(wait).await;
}

/// Whether the same request may go better next time. 501 and 505 mean that the server doesn't know
/// how.
fn is_worth_retrying(error: &Error) -> bool {
    error.is_transient()
        && !(error.kind() == Kind::ServerError
            && matches!(error.context().http_status, Some(501 | 505)))
}

/// Between half and all of `wait`, so that clients which failed together don't come back together.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + 0.5 * fastrand::f64())
}

#[cfg(test)]
mod tests;
