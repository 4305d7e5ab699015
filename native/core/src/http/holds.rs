//! Which servers aren't to be asked for now, since they have said so: 429, or 503 with a time.
//!
//! A refusal is for everybody who asks that host for things of that sort, so it holds back all such
//! requests of the client. Those that are held back get [`turns`], for all at once they would be refused
//! at once. A request that is refused while others pass, by what the [`tally`] of the last answers says, is
//! [`refused`] by itself, and holds back nobody else; unless the server has named a time, which is for all.

mod asked;
mod refused;
mod tally;
mod turns;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::origin::{authority, bare};
use super::ratelimit::asked_wait;
use crate::model::error::{Error, Futile, Hold, Kind, Result};
pub(super) use asked::Asked;
use asked::Request;
use refused::Refused;
use tally::Tally;
use turns::Turns;

/// What limits apply to, as people would call it: "API requests". A server may count each sort by
/// itself.
pub type Sort = &'static str;

/// File content, wherever it comes from or goes to.
pub const CONTENT: Sort = "file content";

/// What one client's servers have refused, in one process.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: Mutex<HashMap<Limit, Held>>,
    /// What became of the last requests, refused or not. Locked after the other.
    tallies: Mutex<HashMap<Limit, Tally>>,
}

/// A server, and what it may count by itself.
type Limit = (String, Sort);

/// Requests of one sort to one host.
#[derive(Debug)]
struct Held {
    /// Nobody asks before.
    until: Instant,
    /// When the first of the refusals came between which nothing was let through.
    since: Instant,
    /// How many times it was waited for, in vain except for the last time.
    refusals: u32,
    /// What was refused that set the time, and with which words.
    by: Request,
    told: Told,
    /// Of those that wait for it.
    turns: Turns,
    /// Those that have been refused.
    refused: Refused,
}

/// What comes with a refusal.
#[derive(Clone, Copy, Debug)]
struct Told {
    kind: Kind,
    /// The seconds that it names, if it does.
    asked: Option<u64>,
}

impl Told {
    /// "Now", said to a request that it has just refused, is no time.
    fn is_named(self) -> bool {
        self.asked.is_some_and(|seconds| seconds > 0)
    }
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
    pub(super) fn check(&self, asked: &Asked) -> Result<()> {
        let mut holds = self.lock();
        if holds.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let Some(held) = holds.get_mut(&asked.limit) else { return Ok(()) };
        let refusals = held.refused.times(&asked.request);
        let alone = held.refused.due_by_itself(&asked.request).filter(|&(due, _)| now < due);
        let (until, is_named, kind, left) = if now < held.until {
            (held.turns.take(refusals), held.told.is_named(), held.told.kind, held.until - now)
        } else if let Some((due, told)) = alone {
            (due, told.is_named(), told.kind, due - now)
        } else if held.turns.is_for_others(refusals, now) {
            // Others wait as well that were refused less often: the time is as good as the server's that made them.
            let turn = held.turns.take(refusals);
            let left = turn.saturating_duration_since(now);
            (turn, held.told.is_named(), held.told.kind, left)
        } else {
            return Ok(());
        };
        held.refused.goes_on_waiting(&asked.request, until);
        let left = left.as_secs() + 1;
        let (host, sort) = &asked.limit;
        let message = format!("{host} limits {sort} and has to be left alone for {left} s more");
        Err(Error::new(kind, message).with(|c| {
            c.url = Some(asked.request.url.clone());
            c.retry_after = Some(left);
            c.http_status = Some(if kind == Kind::RateLimited { 429 } else { 503 });
            c.hold = Some(Hold { until, is_named, was_sent: false, futile: None });
        }))
    }

    /// Takes note of the head of an answer to a request that was `begun` then: the time to wait, if it
    /// refuses for now.
    pub(super) fn answered(
        &self,
        asked: &Asked,
        begun: Instant,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<Hold> {
        let seconds = asked_wait(status.as_u16(), headers);
        let request = &asked.request;
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited,
            // Without a time it's a failure, but for a server that gives it now to this one and now to that.
            StatusCode::SERVICE_UNAVAILABLE if seconds.is_some() || self.is_scattered(asked) => {
                Kind::ServerError
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                self.tally(asked, |tally| tally.refused(request));
                return None;
            }
            _ if status.is_server_error() => return None,
            _ => {
                let target = target(asked, status, headers);
                let is_let_through = match &target {
                    Some(target) => authority(target) != asked.limit.0,
                    None => has_content(status),
                };
                self.tally(asked, |tally| match &target {
                    _ if is_let_through => tally.passed(request),
                    Some(target) => tally.led(&bare(target)),
                    None => {}
                });
                self.not_refused(asked, begun, is_let_through);
                return None;
            }
        };
        Some(self.refused(asked, begun, Told { kind, asked: seconds }))
    }

    /// A request that was `begun` then was answered, and perhaps let through.
    fn not_refused(&self, asked: &Asked, begun: Instant, is_let_through: bool) {
        let mut holds = self.lock();
        let Some(held) = holds.get_mut(&asked.limit) else { return };
        held.refused.forget(&asked.request);
        if !is_let_through {
            return;
        }
        held.refused.passed(begun);
        // What was asked for before the refusal says nothing about it.
        if begun >= held.until {
            held.refusals = 0;
            if held.refused.is_empty() {
                holds.remove(&asked.limit);
            }
        }
    }

    /// Nobody is held back by the last refusal of this request: it was a quota's, which nobody waits for, and
    /// whoever asks next finds out how it is then. (Such a refusal names no time: one that does was another.)
    pub(super) fn release(&self, asked: &Asked) {
        self.tally(asked, |tally| tally.forget(&asked.request));
        let mut holds = self.lock();
        let Some(held) = holds.get_mut(&asked.limit) else { return };
        held.refused.forget(&asked.request);
        if held.by == asked.request && !held.told.is_named() {
            let now = Instant::now();
            (held.until, held.turns) = (now, Turns::from(now));
            held.refusals = held.refusals.saturating_sub(1);
            if held.refusals == 0 && held.refused.is_empty() {
                holds.remove(&asked.limit);
            }
        }
    }

    /// A request that was `begun` then was refused.
    fn refused(&self, asked: &Asked, begun: Instant, told: Told) -> Hold {
        let now = Instant::now();
        // Nobody is held back by what nobody waits for: whoever asks next finds out how it is then.
        if told.asked.is_some_and(|seconds| seconds > PATIENCE.as_secs()) {
            let (until, futile) = (now + wait(told.asked, 1), Some(Futile::TooLong(PATIENCE)));
            return Hold { until, is_named: true, was_sent: true, futile };
        }
        let (host, sort) = &asked.limit;
        let seen = self.tally(asked, |tally| {
            tally.refused(&asked.request);
            tally.beside(&asked.request, now)
        });
        let mut holds = self.lock();
        let held = holds.entry(asked.limit.clone()).or_insert_with(|| Held {
            until: begun,
            since: now,
            refusals: 0,
            by: asked.request.clone(),
            told,
            turns: Turns::from(now),
            refused: Refused::default(),
        });
        if let Some(alone) = held.refused.by_itself(&asked.request, now, told, seen) {
            let wait = alone.until.saturating_duration_since(now);
            let request = &asked.request.url;
            if !seen.is_refusing_others {
                let wait = wait.as_secs();
                tracing::warn!(host, request, "refused for {wait} s, while others are let through");
            } else if self.tally(asked, |tally| tally.is_news(now)) {
                tracing::warn!(host, "refuses some {sort}; each of them is made again");
            } else {
                tracing::debug!(host, request, ?wait, "refused, as others are");
            }
            let (until, futile) = (alone.until, alone.futile);
            return Hold { until, is_named: told.is_named(), was_sent: true, futile };
        }
        // Not by when it ends: a request may be one that takes long.
        let is_anew = begun.saturating_duration_since(held.until) > IDLE;
        if held.refusals == 0 || is_anew {
            (held.since, held.refusals) = (now, 0);
        }
        // Of many that were on their way together, the first counts; the others only tell of a longer time, or
        // of one that goes on.
        let is_next = begun >= held.until;
        held.refusals += u32::from(is_next || held.refusals == 0);
        if seen.is_answering {
            // What leads others on to what it refuses may let that through as well, if by chance.
            held.refusals = held.refusals.min(2);
        }
        let named = Duration::from_secs(told.asked.unwrap_or_default());
        if is_next || now + named >= held.until {
            let wait = wait(told.asked, held.refusals);
            held.until = now + wait;
            (held.by, held.told) = (asked.request.clone(), told);
            // Those that go one after the other are few until the next is refused.
            held.turns.not_before(held.until, seen.is_refusing_most);
            if is_next {
                held.refused.is_for_all();
            }
            let wait = wait.as_secs();
            tracing::warn!(host, refusals = held.refusals, "rate limited: no {sort} for {wait} s");
        }
        let until = held.turns.take(held.refused.times(&asked.request) + 1);
        held.refused.add(asked.request.clone(), now, until, told);
        let is_lasting = now.duration_since(held.since) > PATIENCE;
        let futile = is_lasting.then_some(Futile::Lasting(PATIENCE));
        Hold { until, is_named: held.told.is_named(), was_sent: true, futile }
    }

    /// Whether a refusal of this one would be a matter of chance.
    fn is_scattered(&self, asked: &Asked) -> bool {
        let now = Instant::now();
        self.tally(asked, |tally| tally.beside(&asked.request, now)).is_scattered()
    }

    fn tally<T>(&self, asked: &Asked, look: impl FnOnce(&mut Tally) -> T) -> T {
        // Every change leaves it whole.
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        look(tallies.entry(asked.limit.clone()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Limit, Held>> {
        // Every change leaves the map whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer that is no redirect says that the server's limit is no reason to refuse. What it refuses for
/// other reasons, it may have refused before it looked.
fn has_content(status: StatusCode) -> bool {
    status.is_success()
        || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Where a redirect leads. One to the same server may lead to where it looks at its limit.
fn target(asked: &Asked, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return None;
    }
    let location = headers.get(LOCATION)?.to_str().ok()?;
    Url::parse(&asked.request.url).ok()?.join(location).ok()
}

/// How long to wait after so many refusals in a row, of which the last one names a time or doesn't.
/// A server that says "now" again and again is taken at its word once.
fn wait(asked: Option<u64>, refusals: u32) -> Duration {
    wait_from(FIRST_GUESS, LONGEST_GUESS, asked, refusals)
}

/// The same with other guesses.
fn wait_from(first: Duration, longest: Duration, asked: Option<u64>, refusals: u32) -> Duration {
    // A quarter more or less: many processes that were refused together don't come back together.
    let guess = |doublings: u32| {
        let guess = (first * (1 << doublings.min(10))).min(longest);
        guess.mul_f64(0.75 + 0.5 * fastrand::f64())
    };
    match asked {
        None => guess(refusals - 1),
        Some(0) if refusals == 1 => Duration::ZERO,
        Some(0) => guess(refusals - 2),
        // It counts in whole seconds, and many clients wait for the same one.
        Some(seconds) => {
            let wait = Duration::from_secs(seconds.min(FOREVER));
            wait + (wait / 4).min(Duration::from_secs(1)).mul_f64(fastrand::f64())
        }
    }
}

#[cfg(test)]
mod scattered;
#[cfg(test)]
mod tests;
