//! Which requests of a sort were refused, each by itself, until they are let through. One that is refused again
//! after others have passed is refused for what it is, or by chance, if others are as well: its wait is its own,
//! and has an end of its own.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::asked::Request;
use super::tally::Seen;
use super::{IDLE, PATIENCE, Told, wait, wait_from};
use crate::model::error::Futile;

#[derive(Debug, Default)]
pub(super) struct Refused {
    all: HashMap<Request, One>,
    /// When the last request was made that was let through.
    passed: Option<Instant>,
}

#[derive(Debug)]
struct One {
    /// How many times, when last, and what it was told then.
    times: u32,
    at: Instant,
    told: Told,
    /// When it may be made again.
    due: Instant,
    /// Whether another one has passed since, and none has been refused.
    is_passed_by: bool,
    /// Since when it has been refused by itself.
    alone: Option<Instant>,
}

impl One {
    /// One that is about to be counted.
    fn new(now: Instant, told: Told) -> Self {
        Self { times: 0, at: now, told, due: now, is_passed_by: false, alone: None }
    }
}

/// Until when a request is left alone that is refused by itself.
pub(super) struct ByItself {
    pub(super) until: Instant,
    pub(super) futile: Option<Futile>,
}

/// For how long a request is made again that is refused while others pass, and is told no time. Limits that are
/// counted by the minute are over by then. One that is told a time may have come too late each time, and has as
/// much patience as all.
pub(super) const PATIENCE_ALONE: Duration = Duration::from_mins(2);

/// The waits of who is refused by chance, without a time: the first, doubling to the longest. It isn't the one
/// that would have to be left alone, and longer waits don't better its chances.
const FIRST_BY_CHANCE: Duration = Duration::from_millis(250);
const LONGEST_BY_CHANCE: Duration = Duration::from_secs(1);

impl Refused {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many times this one was refused.
    pub(super) fn times(&self, request: &Request) -> u32 {
        self.all.get(request).map_or(0, |one| one.times)
    }

    /// Until when this one is left alone, and what it was told, if it's refused by itself.
    pub(super) fn due_by_itself(&self, request: &Request) -> Option<(Instant, Told)> {
        self.all.get(request).filter(|one| one.alone.is_some()).map(|one| (one.due, one.told))
    }

    /// One more refusal of this one, if it's for what it is, or by chance: others have passed meanwhile. What
    /// has come of the last requests can't tell of a time that is named, which may be one that begins.
    pub(super) fn by_itself(
        &mut self,
        request: &Request,
        now: Instant,
        told: Told,
        seen: Seen,
    ) -> Option<ByItself> {
        if !self.all.get(request).is_some_and(|one| one.is_passed_by) {
            if told.is_named() || !seen.is_letting_through {
                return None;
            }
            // Others are refused as well, which is nothing that they would have for themselves.
            for one in self.all.values_mut() {
                one.alone = None;
            }
        }
        let one = self.all.entry(request.clone()).or_insert(One::new(now, told));
        one.times += 1;
        (one.at, one.told) = (now, told);
        let wait = if seen.is_scattered() && !told.is_named() {
            wait_from(FIRST_BY_CHANCE, LONGEST_BY_CHANCE, told.asked, one.times)
        } else {
            wait(told.asked, one.times)
        };
        one.due = now + wait;
        let (since, until) = (*one.alone.get_or_insert(now), one.due);
        let is_patient = told.is_named() || self.is_shared(since, now);
        let patience = if is_patient { PATIENCE } else { PATIENCE_ALONE };
        let is_over = now.duration_since(since) > patience;
        let futile = is_over.then_some(Futile::Alone(patience));
        Some(ByItself { until, futile })
    }

    /// Whether several are refused, and none has been let through since then: at the end of a download nobody
    /// is left who hasn't been passed by, and what they have in common is that limit. The parts of a file
    /// aren't several.
    fn is_shared(&self, since: Instant, now: Instant) -> bool {
        let waiting =
            self.all.iter().filter(|(_, one)| one.alone.is_some() && now < one.due + IDLE);
        let urls: HashSet<_> = waiting.map(|(request, _)| &request.url).collect();
        urls.len() > 1 && self.passed.is_none_or(|passed| passed < since)
    }

    /// One more refusal of this one. It may be made again when it's `due`, its turn where it's in the name of all.
    pub(super) fn add(&mut self, request: Request, now: Instant, due: Instant, told: Told) {
        // Whose call has ended doesn't come back.
        self.all.retain(|_, one| now < one.due + IDLE);
        let one = self.all.entry(request).or_insert(One::new(now, told));
        one.times += 1;
        (one.at, one.due, one.told) = (now, due, told);
    }

    /// This one still waits: it has been given another turn.
    pub(super) fn goes_on_waiting(&mut self, request: &Request, turn: Instant) {
        if let Some(one) = self.all.get_mut(request) {
            one.due = one.due.max(turn);
        }
    }

    /// This one is refused no more.
    pub(super) fn forget(&mut self, request: &Request) {
        self.all.remove(request);
    }

    /// Others are refused as well.
    pub(super) fn is_for_all(&mut self) {
        for one in self.all.values_mut() {
            (one.is_passed_by, one.alone) = (false, None);
        }
    }

    /// A request that was `begun` then was let through, and so passes by those that had been refused before.
    pub(super) fn passed(&mut self, begun: Instant) {
        self.passed = self.passed.max(Some(begun));
        let now = Instant::now();
        self.all.retain(|_, one| now < one.due + IDLE);
        for one in self.all.values_mut() {
            one.is_passed_by |= begun >= one.at;
        }
    }

    /// As if what is known had been found out so much earlier.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        let earlier = |at: Instant| at.checked_sub(by).unwrap();
        self.passed = self.passed.map(earlier);
        for one in self.all.values_mut() {
            (one.at, one.due, one.alone) =
                (earlier(one.at), earlier(one.due), one.alone.map(earlier));
        }
    }
}
