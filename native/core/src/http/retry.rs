//! Making a request again: how often, after what wait, and when not.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::call::progress::Counters;
use crate::config::Config;
use crate::model::error::{Error, Hold, Kind, Result};
use crate::model::told;

/// How patiently a request is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further one.
    pub base: Duration,
    /// The longest such wait.
    pub cap: Duration,
    /// Whether a server that refuses for now ([`Hold`]) is waited for, which counts as no attempt.
    /// Otherwise whoever made the request does that. Likewise whether one that is away is waited for longer.
    pub waits_out: bool,
}

impl RetryPolicy {
    /// The longest wait that a server may ask for where there is another way, which is better than to
    /// wait for longer.
    const WITH_ANOTHER_WAY: Duration = Duration::from_secs(10);

    /// So many times longer are the waits, up to the cap, for a server that is away: all together, some 20 to 30 s,
    /// which is more than a restart takes.
    const AWAY: u32 = 4;

    /// The policy of a client: 0.5, 1, 2, 4, 8, 8, ... seconds between attempts; 2, 4, 8, 8, ... where a server
    /// is away.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            attempts: config.max_attempts,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(8),
            waits_out: true,
        }
    }

    /// One attempt, of which the caller takes what comes.
    #[must_use]
    pub fn once(self) -> Self {
        Self { attempts: 1, waits_out: false, ..self }
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
            if let Some(hold) = self.held_back(&error, counters) {
                wait_out(hold, error, counters).await?;
                continue;
            }
            let wait = (attempt < self.attempts_after(&error, counters))
                .then(|| self.wait_after(attempt, &error, counters))
                .flatten();
            let Some(wait) = wait else {
                return Err(error.with(|c| c.attempts = Some(attempt)));
            };
            // A single retry is everyday life; more, or a long wait, is what a user wants to know.
            if attempt > 1 || wait > self.cap {
                tracing::warn!(
                    target: told::RETRIED, attempt, of = self.attempts, ?wait, %error,
                    "can't {what} yet"
                );
            } else {
                tracing::debug!(
                    target: told::RETRIED, attempt, of = self.attempts, ?wait, %error,
                    "can't {what} yet"
                );
            }
            rest(wait, &error, counters).await;
            attempt += 1;
        }
    }

    /// For what is taken up where it broke off, rather than made again as a whole: waits after
    /// `failures` failures without progress, of which `error` is the last. Gives the error back
    /// when its attempts are used up, or when the server asks for a longer wait than there is time, or
    /// than another way would take. Whether the failure is one that may pass is the caller's to know.
    pub async fn pause(self, failures: u32, error: Error, counters: &Counters) -> Result<()> {
        if let Some(hold) = self.held_back(&error, counters) {
            return wait_out(hold, error, counters).await;
        }
        let wait = (failures < self.attempts_after(&error, counters))
            .then(|| self.asked_or_backoff(failures, &error, counters));
        let Some(wait) = wait.flatten() else {
            return Err(error.with(|c| c.attempts = Some(failures)));
        };
        rest(wait, &error, counters).await;
        Ok(())
    }

    /// The time that is to be waited out after this failure, which is none of the request's.
    pub(crate) fn held_back(self, error: &Error, counters: &Counters) -> Option<Hold> {
        error.context().hold.filter(|_| self.waits_out && !counters.has_another_way())
    }

    /// Whether that time is over before the call's is.
    pub(crate) fn may_wait_out(self, error: &Error, counters: &Counters) -> bool {
        self.held_back(error, counters).is_some_and(|hold| {
            hold.futile.is_none()
                && counters.limit().is_none_or(|limit| !limit.is_too_early_for(hold.until))
        })
    }

    /// How many attempts there may be in all, seen from a failure. A server that has kept silent for
    /// as long as it may, three times, isn't worth more of anyone's time.
    /// Nor is one that shares its patience with others who have used that up. And what makes no sense
    /// three times isn't a hiccup.
    fn attempts_after(self, error: &Error, counters: &Counters) -> u32 {
        const FEW: u32 = 3;
        match error.kind() {
            Kind::Timeout if counters.is_out_of_patience() => 0,
            Kind::Timeout => self.attempts.min(FEW),
            Kind::InvalidResponse if error.context().may_pass => self.attempts.min(FEW),
            _ => self.attempts,
        }
    }

    /// How long to wait after attempt number `attempt` has failed with `error`; `None`: give up.
    fn wait_after(self, attempt: u32, error: &Error, counters: &Counters) -> Option<Duration> {
        is_worth_retrying(error).then(|| self.asked_or_backoff(attempt, error, counters)).flatten()
    }

    /// The wait that the server asked for, else our own; `None` if it asked for too much.
    fn asked_or_backoff(
        self,
        attempt: u32,
        error: &Error,
        counters: &Counters,
    ) -> Option<Duration> {
        let Some(hold) = error.context().hold else {
            let wait = self.backoff(attempt);
            let is_patient = self.waits_out && !counters.has_another_way();
            return Some(if error.context().is_away && is_patient {
                jitter((wait * Self::AWAY).min(self.cap), 0.25)
            } else {
                jitter(wait, 0.5)
            });
        };
        let left = hold.until.saturating_duration_since(Instant::now());
        let is_in_time = counters.limit().is_none_or(|limit| !limit.is_too_early_for(hold.until));
        (left <= Self::WITH_ANOTHER_WAY && is_in_time).then_some(left)
    }

    /// The wait after attempt number `attempt`, before jitter.
    fn backoff(self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

/// Waits for as long as a server wants, unless it has named a time that is beyond the call's, or there is
/// no hope.
async fn wait_out(hold: Hold, error: Error, counters: &Counters) -> Result<()> {
    if let Some(why) = hold.futile {
        let what = error.context().file.as_ref().or(error.context().url.as_ref());
        let what = what.map(|what| format!(" ({what})")).unwrap_or_default();
        let message = format!("{}; {why}{what}", error.message());
        return Err(Error::new(error.kind(), message).with(|c| *c = error.context().clone()));
    }
    if hold.is_named
        && let Some(limit) = counters.limit()
        && limit.is_too_early_for(hold.until)
    {
        let timeout = limit.timeout;
        let wait = hold.until.saturating_duration_since(Instant::now());
        let beyond = if wait < timeout { "what is left of " } else { "" };
        let message = format!(
            "{}; that is beyond {beyond}the call's timeout of {timeout:?}",
            error.message()
        );
        return Err(Error::new(error.kind(), message).with(|c| *c = error.context().clone()));
    }
    rest(hold.until.saturating_duration_since(Instant::now()), &error, counters).await;
    Ok(())
}

/// A wait of which one wants to read in the log.
const WORTH_A_WORD: Duration = Duration::from_mins(1);

/// The wait before a request is made after `error`; counted, unless it's for the first time.
async fn rest(wait: Duration, error: &Error, counters: &Counters) {
    let hold = error.context().hold;
    counters.set_failure(error);
    if hold.is_none_or(|hold| hold.was_sent) {
        counters.add_retry();
    }
    let _waiting = match hold {
        Some(hold) => {
            let host = error.context().url.as_deref().unwrap_or("a server");
            // Who was refused has said so. Once for all of a call that wait together.
            let is_news = !hold.was_sent && counters.waits.limited_for().is_none();
            if is_news && wait >= WORTH_A_WORD {
                tracing::warn!("waiting {} s: {error}", wait.as_secs());
            }
            counters.waits.begin_limited(format!("the end of a rate limit of {host}"), wait)
        }
        None if error.context().is_away => {
            let server = error.context().url.as_deref().unwrap_or("a server");
            counters.waits.begin(format!("{server} to come back"), wait)
        }
        None => counters.waits.begin("the time for another attempt", wait),
    };
    tokio::time::sleep(wait).await;
}

/// Whether the same request may go better next time. 501 and 505 mean that the server doesn't know
/// how.
fn is_worth_retrying(error: &Error) -> bool {
    error.is_transient()
        && !(error.kind() == Kind::ServerError
            && matches!(error.context().http_status, Some(501 | 505)))
}

/// `wait` without up to `part` of it, so that clients which failed together don't come back together.
fn jitter(wait: Duration, part: f64) -> Duration {
    wait.mul_f64(1.0 - part * fastrand::f64())
}

#[cfg(test)]
mod tests;
