//! Windows in which a server takes so many requests, as far as its `RateLimit` headers tell: whoever asks
//! next waits for the next window before it's refused.
//!
//! Headers are a promise of others. They hold back requests only while they add up: what is left goes down
//! by what this client asks for, and not up. Where they don't, the server's refusals tell, as they do for
//! servers without them: see [`holds`](super::holds).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use tokio::sync::Notify;
use url::Url;

use super::Sort;
use super::origin::{authority, bare};
use super::ratelimit::{Policy, RateLimit};
use crate::model::error::{Error, Hold, Kind, Result};

/// The windows of one client's servers, in one process. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    windows: Mutex<HashMap<(String, Sort), Window>>,
    /// Requests that were on their way have been answered.
    answered: Notify,
}

/// What is known of one server's window for requests of one sort.
#[derive(Debug)]
struct Window {
    bucket: String,
    /// As many requests are left, by what was heard then.
    left: u64,
    heard: Instant,
    /// As many were left, by those that were answered in this window, when the first of them was counted.
    at_first: u64,
    /// How many were answered beside that one.
    answered: u64,
    /// When it was first heard of, or the one before it ended.
    began: Instant,
    /// When it has ended, whatever the server's rounding.
    end: Instant,
    /// How many there may be in each.
    quota: Option<u64>,
    /// Requests that were begun and have no answer yet, which may be counted already or not.
    on_their_way: u64,
    /// What it has said of a window has added up.
    was_right: bool,
    /// What it says of this window doesn't add up.
    is_wrong: bool,
}

/// Longer than any window that is waited for, and not too long for a clock.
const FOREVER: u64 = 60 * 60;
/// Servers count in whole seconds, and may round either way.
const ROUNDING: Duration = Duration::from_secs(1);
/// No window is believed to be longer, unless it's said to be; the Hub's are as long.
const LONGEST: Duration = Duration::from_mins(5);
/// So many answers have to add up before anything is held back.
const BELIEVED_AFTER: u64 = 3;
/// Others share an address, and so its windows: so many of theirs may go with one of ours, and some more.
const OTHERS: u64 = 64;
/// At the end of a window, the answers on their way say how much is left. Longer than this, they don't.
const FOR_ANSWERS: Duration = Duration::from_secs(2);

/// A request on its way, until it's dropped.
#[derive(Debug)]
pub(super) struct OnItsWay(Option<(Windows, (String, Sort))>);

impl Windows {
    /// Lets a request begin. At the end of a window that is used up it fails with the time to wait.
    pub(super) async fn admit(&self, url: &Url, sort: Sort) -> Result<OnItsWay> {
        if self.lock().is_empty() {
            return Ok(OnItsWay(None));
        }
        let (key, asked) = ((authority(url), sort), Instant::now());
        loop {
            let answered = self.0.answered.notified();
            let left = FOR_ANSWERS.saturating_sub(asked.elapsed());
            match self.begin(&key, url, left.is_zero())? {
                Some(begun) => return Ok(begun),
                None => {
                    // It's over, or the time is: either shows in the next look.
                    let _ = tokio::time::timeout(left, answered).await;
                }
            }
        }
    }

    /// `None`: that depends on the answers that are on their way, which is no reason if `at_last`.
    fn begin(&self, key: &(String, Sort), url: &Url, at_last: bool) -> Result<Option<OnItsWay>> {
        let (mut windows, now) = (self.lock(), Instant::now());
        let Some(window) = windows.get_mut(key) else { return Ok(Some(OnItsWay(None))) };
        match window.look(now) {
            Room::None => Err(window.used_up(key, url, now)),
            Room::Unknown if !at_last => Ok(None),
            Room::Some | Room::Unknown => {
                window.on_their_way += 1;
                Ok(Some(OnItsWay(Some((self.clone(), key.clone())))))
            }
        }
    }

    /// Takes note of the head of an answer to a request that was `begun` then.
    pub(super) fn answered(&self, (url, sort): (&Url, Sort), begun: Instant, headers: &HeaderMap) {
        let Some(limit) = RateLimit::of(headers) else { return };
        let policy = Policy::of(headers, &limit.bucket);
        let mut windows = self.lock();
        let now = Instant::now();
        let key = (authority(url), sort);
        match windows.get_mut(&key) {
            // Servers change what they call it, and which of theirs they tell of.
            Some(window) if window.bucket != limit.bucket && now >= window.end => {
                let on_their_way = window.on_their_way;
                *window = Window { on_their_way, ..Window::new(limit, policy, now) };
            }
            Some(window) => window.note(&limit, policy, begun, now),
            None => {
                windows.insert(key, Window::new(limit, policy, now));
            }
        }
    }

    /// How many more requests there may be in this window, and how many in each, as far as the server
    /// has said so.
    pub(super) fn room(&self, url: &Url, sort: Sort) -> Option<(u64, u64)> {
        let mut windows = self.lock();
        let window = windows.get_mut(&(authority(url), sort))?;
        window.renew(Instant::now());
        let quota = window.quota.filter(|&quota| quota > 0 && !window.is_wrong)?;
        Some((window.left.min(quota), quota))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Sort), Window>> {
        // Every change leaves the map whole.
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let Some((windows, key)) = self.0.take() else { return };
        if let Some(window) = windows.lock().get_mut(&key) {
            window.on_their_way = window.on_their_way.saturating_sub(1);
        }
        windows.0.answered.notify_waiters();
    }
}

/// Whether there is room for one more request.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    Some,
    /// As many are on their way as are left.
    Unknown,
    None,
}

impl Window {
    fn new(limit: RateLimit, policy: Option<Policy>, now: Instant) -> Self {
        Self {
            left: limit.remaining,
            heard: now,
            at_first: limit.remaining,
            answered: 0,
            began: now,
            end: end(limit.reset, now),
            quota: policy.map(|policy| policy.quota),
            on_their_way: 0,
            was_right: false,
            is_wrong: is_too_long(&limit, policy),
            bucket: limit.bucket,
        }
    }

    fn look(&mut self, now: Instant) -> Room {
        self.renew(now);
        // A window that begins used up has to show that it is one.
        let begins_whole = self.quota.is_some_and(|quota| self.at_first >= quota / 2);
        let is_believed = self.adds_up() || self.was_right && begins_whole;
        if self.is_wrong || !is_believed || self.left > self.on_their_way {
            Room::Some
        } else if self.left > 0 {
            Room::Unknown
        } else {
            Room::None
        }
    }

    /// Whether so much has been heard of this window that it may be one.
    fn adds_up(&self) -> bool {
        self.answered >= BELIEVED_AFTER && self.left < self.at_first
    }

    /// A window that has ended is followed by one of which nothing is known but how many it takes.
    fn renew(&mut self, now: Instant) {
        if now >= self.end {
            self.begin_anew(self.quota.unwrap_or(u64::MAX), now);
        }
    }

    /// What was wrong of a window that has ended has to be right three times before it's believed again: it may
    /// have been a server that was restarted, or somebody else's burst.
    fn begin_anew(&mut self, left: u64, now: Instant) {
        self.was_right &= !self.is_wrong;
        self.is_wrong = false;
        self.begin(left, now);
    }

    fn begin(&mut self, left: u64, now: Instant) {
        (self.left, self.heard, self.began) = (left, now, now);
        (self.at_first, self.answered) = (left, 0);
    }

    /// Takes note of what an answer says to a request that was `begun` then.
    fn note(&mut self, limit: &RateLimit, policy: Option<Policy>, begun: Instant, now: Instant) {
        if limit.bucket != self.bucket {
            return;
        }
        self.quota = policy.map(|policy| policy.quota).or(self.quota);
        if begun < self.began && end(limit.reset, now) + ROUNDING < self.end {
            // It's late, and about the window before.
            return;
        }
        // Answers overtake each other, but not the requests that were begun after them.
        let has_grown = begun > self.heard && limit.remaining >= self.left;
        let ends_later = begun + Duration::from_secs(limit.reset.min(FOREVER)) > self.end;
        if is_too_long(limit, policy) {
            self.is_wrong = true;
        } else if has_grown && now + ROUNDING * 2 >= self.end {
            self.begin_anew(limit.remaining, now);
            self.end = end(limit.reset, now);
        } else if ends_later {
            self.begin(limit.remaining, now);
            self.end = end(limit.reset, now);
        } else {
            self.answered += 1;
            self.at_first = self.at_first.max(limit.remaining);
            if limit.remaining < self.left {
                (self.left, self.heard) = (limit.remaining, now);
            }
            self.end = self.end.min(end(limit.reset, now));
            let gone = self.at_first - self.left;
            let most = (self.answered + self.on_their_way).saturating_mul(2) + OTHERS;
            self.is_wrong |= has_grown || gone < self.answered || gone > most;
            self.was_right |= self.adds_up();
        }
        if self.is_wrong {
            tracing::debug!(bucket = self.bucket, "what a server says of its limits isn't so");
        }
    }

    /// The error for a request that has to wait for the next window.
    fn used_up(&self, (host, sort): &(String, Sort), url: &Url, now: Instant) -> Error {
        let left = self.end.saturating_duration_since(now).as_secs() + 1;
        let message = format!(
            "{host} takes no more {sort} for {left} s, which is when its window for them ends"
        );
        Error::new(Kind::RateLimited, message).with(|c| {
            c.url = Some(bare(url));
            c.retry_after = Some(left);
            c.http_status = Some(429);
            c.hold = Some(Hold { until: self.end, is_named: true, was_sent: false, futile: None });
        })
    }
}

/// When a window has ended that ends in so many seconds, as the server counts them.
fn end(reset: u64, now: Instant) -> Instant {
    now + Duration::from_secs(reset.min(FOREVER)) + ROUNDING
}

/// Whether it's said to end later than any window does.
fn is_too_long(limit: &RateLimit, policy: Option<Policy>) -> bool {
    let longest = policy.and_then(|policy| policy.window).unwrap_or(LONGEST.as_secs());
    limit.reset > longest.saturating_add(1).min(FOREVER)
}

#[cfg(test)]
mod tests;
