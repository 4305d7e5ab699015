//! Which servers aren't to be asked for now, since they have said so: 429, or 503 with a time.
//!
//! A refusal is for everybody who asks that host for things of that sort, so it holds back all such
//! requests of the client. Those that are held back get [`turns`], for all at once they would be refused
//! at once. A request that is refused while others pass is [`refused`] for reasons of its own, and holds
//! back nobody else.

mod refused;
mod turns;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use url::Url;

use super::origin::{authority, bare};
use super::ratelimit::asked_wait;
use crate::model::error::{Error, Futile, Hold, Kind, Result};
use refused::Refused;
use turns::Turns;

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
    /// Of those that wait for it.
    turns: Turns,
    /// Those that have been refused.
    refused: Refused,
}

/// The waits where a server refuses and doesn't say for how long: the first, doubling to the longest.
const FIRST_GUESS: Duration = Duration::from_secs(1);
const LONGEST_GUESS: Duration = Duration::from_secs(15);

/// A server that has let nothing through for so long, and refuses once more, is one that fails, and so is
/// one that names a longer time: the longest limit of the Hub's is one hour.
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
        let now = Instant::now();
        let key = (authority(url), sort);
        let Some(held) = holds.get_mut(&key) else { return Ok(()) };
        let request = bare(url);
        let refusals = held.refused.times(&request);
        let (until, is_named, left) = if now < held.until {
            (held.turns.take(refusals), held.is_named, held.until - now)
        } else if let Some(due) = held.refused.due_by_itself(&request).filter(|&due| now < due) {
            (due, held.is_named, due - now)
        } else if held.turns.is_for_others(refusals, now) {
            // Others wait as well that were refused less often.
            let turn = held.turns.take(refusals);
            (turn, false, turn.saturating_duration_since(now))
        } else {
            return Ok(());
        };
        let left = left.as_secs() + 1;
        let message = format!("{} limits {sort} and has to be left alone for {left} s more", key.0);
        Err(Error::new(held.kind, message).with(|c| {
            c.url = Some(request);
            c.retry_after = Some(left);
            c.http_status = Some(if held.kind == Kind::RateLimited { 429 } else { 503 });
            c.hold = Some(Hold { until, is_named, was_sent: false, futile: None });
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
        Some(self.refused((url, sort), begun, kind, asked))
    }

    /// A request that was `begun` then was let through.
    pub(super) fn passed(&self, (url, sort): (&Url, Sort), begun: Instant) {
        let mut holds = self.lock();
        if holds.is_empty() {
            return;
        }
        let key = (authority(url), sort);
        let Some(held) = holds.get_mut(&key) else { return };
        held.refused.passed(&bare(url), begun);
        // What was asked for before the refusal says nothing about it.
        if begun >= held.until {
            held.refusals = 0;
            if held.refused.is_empty() {
                holds.remove(&key);
            }
        }
    }

    /// A request that was `begun` then was refused for so many seconds, if it `asked` for that.
    pub(super) fn refused(
        &self,
        (url, sort): (&Url, Sort),
        begun: Instant,
        kind: Kind,
        asked: Option<u64>,
    ) -> Hold {
        let (now, request) = (Instant::now(), bare(url));
        // Nobody is held back by what nobody waits for: whoever asks next finds out how it is then.
        if asked.is_some_and(|seconds| seconds > PATIENCE.as_secs()) {
            let (until, futile) = (now + wait(asked, 1), Some(Futile::TooLong(PATIENCE)));
            return Hold { until, is_named: true, was_sent: true, futile };
        }
        let host = authority(url);
        let mut holds = self.lock();
        let held = holds.entry((host.clone(), sort)).or_insert_with(|| Held {
            until: begun,
            since: now,
            refusals: 0,
            kind,
            is_named: false,
            turns: Turns::from(now),
            refused: Refused::default(),
        });
        // "Now", said to a request that it has just refused, is no time.
        let is_named = asked.is_some_and(|seconds| seconds > 0);
        if let Some(alone) = held.refused.by_itself(&request, now, asked) {
            let wait = alone.until.saturating_duration_since(now).as_secs();
            tracing::warn!(host, request, "refused for {wait} s, while others are let through");
            return Hold { until: alone.until, is_named, was_sent: true, futile: alone.futile };
        }
        // Not by when it ends: a request may be one that takes long.
        let is_anew = begun.saturating_duration_since(held.until) > IDLE;
        if held.refusals == 0 || is_anew {
            (held.since, held.refusals) = (now, 0);
        }
        // Of many that were on their way together, the first tells.
        if begun >= held.until {
            held.refusals += 1;
            let wait = wait(asked, held.refusals);
            (held.kind, held.is_named) = (kind, is_named);
            held.until = now + wait;
            held.turns = Turns::from(held.until);
            held.refused.is_for_all();
            let wait = wait.as_secs();
            tracing::warn!(host, refusals = held.refusals, "rate limited: no {sort} for {wait} s");
        }
        let until = held.turns.take(held.refused.times(&request) + 1);
        held.refused.add(request, now, until);
        let is_over = now.duration_since(held.since) > PATIENCE;
        let futile = is_over.then_some(Futile::Lasting(PATIENCE));
        Hold { until, is_named: held.is_named, was_sent: true, futile }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Sort), Held>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
