//! Which servers aren't to be asked for now, since they have said so: 429, or 503 with a time.
//!
//! A refusal is for everybody who asks that host for things of that sort, so it holds back all such
//! requests of the client. Those that are held back get turns: when the time has come, they go one
//! after the other, ever faster. All at once they would be refused at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use url::Url;

use super::origin::{authority, bare};
use super::ratelimit::asked_wait;
use crate::model::error::{Error, Hold, Kind, Result};

/// What limits apply to, as people would call it: "API requests". A server may count each sort by
/// itself.
pub type Sort = &'static str;

/// File content, wherever it comes from or goes to.
pub const CONTENT: Sort = "file content";

/// What one client's servers have refused, in one process.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<(String, Sort), Held>>);

/// Requests of one sort to one host.
#[derive(Debug)]
struct Held {
    /// Nobody asks before.
    until: Instant,
    /// When the first of the refusals came between which nothing was let through.
    since: Instant,
    /// How many times it was waited for, in vain except for the last time.
    refusals: u32,
    /// What it was refused as.
    kind: Kind,
    is_named: bool,
    /// Whose turn comes next, and how long after that the one behind it.
    next: Instant,
    step: Duration,
}

/// Between the first two that go when the time has come.
const FIRST_STEP: Duration = Duration::from_millis(100);
/// What each step is of the one before it. The steps of however many add up to two seconds.
const NEXT_STEP: f64 = 0.95;

/// The waits where a server refuses and doesn't say for how long: the first, doubling to the longest.
const FIRST_GUESS: Duration = Duration::from_secs(1);
const LONGEST_GUESS: Duration = Duration::from_secs(15);

/// A server that has let nothing through for so long, and refuses once more, is one that fails: the
/// longest limit of the Hub's is one hour.
const PATIENCE: Duration = Duration::from_hours(2);

/// Who refuses when nobody has asked for so long refuses anew, and not still.
const IDLE: Duration = Duration::from_mins(1);

/// Further away than anyone waits, and not too far for a clock.
const FOREVER: u64 = 366 * 24 * 60 * 60;

impl Holds {
    /// Fails with the time to wait, if requests of this sort are held back.
    pub(super) fn check(&self, url: &Url, sort: Sort) -> Result<()> {
        let mut holds = self.lock();
        if holds.is_empty() {
            return Ok(());
        }
        let host = authority(url);
        let now = Instant::now();
        let key = (host, sort);
        let Some(held) = holds.get_mut(&key).filter(|held| now < held.until) else {
            return Ok(());
        };
        let turn = held.turn(false);
        let left = (held.until - now).as_secs() + 1;
        let message = format!("{} limits {sort} and has to be left alone for {left} s more", key.0);
        Err(Error::new(held.kind, message).with(|c| {
            c.url = Some(bare(url));
            c.retry_after = Some(left);
            c.http_status = Some(if held.kind == Kind::RateLimited { 429 } else { 503 });
            c.hold = Some(turn);
        }))
    }

    /// Takes note of the head of an answer to a request that was `begun` then: the time to wait, if it
    /// refuses for now.
    pub(super) fn answered(
        &self,
        (url, sort): (&Url, Sort),
        begun: Instant,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Hold> {
        let asked = asked_wait(status.as_u16(), headers);
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited,
            StatusCode::SERVICE_UNAVAILABLE if asked.is_some() => Kind::ServerError,
            _ if status.is_server_error() => return None,
            _ => {
                self.passed((url, sort), begun);
                return None;
            }
        };
        self.refused((url, sort), begun, kind, asked)
    }

    /// A request that was `begun` then was let through.
    pub(super) fn passed(&self, (url, sort): (&Url, Sort), begun: Instant) {
        let mut holds = self.lock();
        if holds.is_empty() {
            return;
        }
        let key = (authority(url), sort);
        // What was asked for before the refusal says nothing about it.
        if holds.get(&key).is_some_and(|held| begun >= held.until) {
            holds.remove(&key);
        }
    }

    /// A request that was `begun` then was refused for so many seconds, if it `asked` for that. `None`:
    /// this has gone on for too long to be waited out.
    pub(super) fn refused(
        &self,
        (url, sort): (&Url, Sort),
        begun: Instant,
        kind: Kind,
        asked: Option<u64>,
    ) -> Option<Hold> {
        let now = Instant::now();
        let host = authority(url);
        let mut holds = self.lock();
        let held = holds.entry((host.clone(), sort)).or_insert_with(|| Held {
            until: begun,
            since: now,
            refusals: 0,
            kind,
            is_named: false,
            next: now,
            step: FIRST_STEP,
        });
        if now.saturating_duration_since(held.until) > IDLE {
            (held.since, held.refusals) = (now, 0);
        }
        if now.duration_since(held.since) > PATIENCE {
            return None;
        }
        // Of many that were on their way together, the first tells.
        if begun >= held.until {
            held.refusals += 1;
            let wait = wait(asked, held.refusals);
            // "Now", said to a request that it has just refused, is no time.
            (held.kind, held.is_named) = (kind, asked.is_some_and(|seconds| seconds > 0));
            held.until = now + wait;
            (held.next, held.step) = (held.until, FIRST_STEP);
            let wait = wait.as_secs();
            tracing::warn!(host, refusals = held.refusals, "rate limited: no {sort} for {wait} s");
        }
        Some(held.turn(true))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Sort), Held>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The next turn.
    fn turn(&mut self, was_sent: bool) -> Hold {
        let until = self.next;
        self.next += self.step;
        self.step = self.step.mul_f64(NEXT_STEP);
        Hold { until, is_named: self.is_named, was_sent }
    }
}

/// How long to wait after so many refusals in a row, of which the last one names a time or doesn't.
/// A server that says "now" again and again is taken at its word once.
fn wait(asked: Option<u64>, refusals: u32) -> Duration {
    let guess = |doublings: u32| (FIRST_GUESS * (1 << doublings.min(10))).min(LONGEST_GUESS);
    match asked {
        None => guess(refusals - 1),
        Some(0) if refusals == 1 => Duration::ZERO,
        Some(0) => guess(refusals - 2),
        // It counts in whole seconds, and many clients wait for the same one.
        Some(seconds) => {
            Duration::from_secs(seconds.min(FOREVER))
                + Duration::from_secs(1).mul_f64(fastrand::f64())
        }
    }
}

#[cfg(test)]
mod tests;
