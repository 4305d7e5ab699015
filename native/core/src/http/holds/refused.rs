//! Which requests of a sort were refused, each by itself, until they are let through. One that is refused again
//! after others have passed is refused for what it is: its wait is its own, and has an end of its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{IDLE, wait};
use crate::model::error::Futile;

/// By URL, without its query.
#[derive(Debug, Default)]
pub(super) struct Refused(HashMap<String, One>);

#[derive(Debug)]
struct One {
    /// How many times, and when last.
    times: u32,
    at: Instant,
    /// When it may be made again.
    due: Instant,
    /// Whether another one has passed since, and none has been refused.
    is_passed_by: bool,
    /// Since when it has been refused by itself.
    alone: Option<Instant>,
}

/// Until when a request is left alone that is refused by itself.
pub(super) struct ByItself {
    pub(super) until: Instant,
    pub(super) futile: Option<Futile>,
}

/// For how long a request is made again that is refused while others pass. Limits that are counted by the minute
/// are over by then.
pub(super) const PATIENCE_ALONE: Duration = Duration::from_mins(2);

impl Refused {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many times this one was refused.
    pub(super) fn times(&self, request: &str) -> u32 {
        self.0.get(request).map_or(0, |one| one.times)
    }

    /// Until when this one is left alone, if it's refused by itself.
    pub(super) fn due_by_itself(&self, request: &str) -> Option<Instant> {
        self.0.get(request).filter(|one| one.alone.is_some()).map(|one| one.due)
    }

    /// One more refusal of this one, if it's for what it is: others have passed meanwhile. It names a time, or
    /// doesn't.
    pub(super) fn by_itself(
        &mut self,
        request: &str,
        now: Instant,
        asked: Option<u64>,
    ) -> Option<ByItself> {
        let one = self.0.get_mut(request).filter(|one| one.is_passed_by)?;
        one.times += 1;
        (one.at, one.due) = (now, now + wait(asked, one.times));
        let since = *one.alone.get_or_insert(now);
        let is_over = now.duration_since(since) > PATIENCE_ALONE;
        let futile = is_over.then_some(Futile::Alone(PATIENCE_ALONE));
        Some(ByItself { until: one.due, futile })
    }

    /// One more refusal of this one, in the name of all. It may be made again at its turn, `due`.
    pub(super) fn add(&mut self, request: String, now: Instant, due: Instant) {
        // Whose call has ended doesn't come back.
        self.0.retain(|_, one| now < one.due + IDLE);
        let first = One { times: 0, at: now, due, is_passed_by: false, alone: None };
        let one = self.0.entry(request).or_insert(first);
        one.times += 1;
        (one.at, one.due) = (now, due);
    }

    /// Others are refused as well.
    pub(super) fn is_for_all(&mut self) {
        for one in self.0.values_mut() {
            (one.is_passed_by, one.alone) = (false, None);
        }
    }

    /// A request that was `begun` then was let through, and so passes by those that had been refused before.
    pub(super) fn passed(&mut self, request: &str, begun: Instant) {
        self.0.remove(request);
        let now = Instant::now();
        self.0.retain(|_, one| now < one.due + IDLE);
        for one in self.0.values_mut() {
            one.is_passed_by |= begun >= one.at;
        }
    }

    /// As if what is known had been found out so much earlier.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        let earlier = |at: Instant| at.checked_sub(by).unwrap();
        for one in self.0.values_mut() {
            (one.at, one.due, one.alone) =
                (earlier(one.at), earlier(one.due), one.alone.map(earlier));
        }
    }
}
