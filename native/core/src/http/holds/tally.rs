//! What became of the last requests of a sort: whether their server refuses some of them, or all.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use super::IDLE;
use super::asked::Request;

/// The last answers of one server to requests of one sort, of which the last minute counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    last: VecDeque<(Instant, Outcome)>,
    /// When it was last said that some are refused.
    told: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It had what was asked for of this URL, or led elsewhere.
    Passed(Name),
    /// It led on to this URL of its own.
    Led(Name),
    /// It refused this URL for now, and this request for it.
    Refused(Name, Name),
}

/// A URL, without its query, or a request, as far as it has to be told from others.
type Name = u64;

/// So many answers are looked at. A server that refuses two of three, of a file and of where that leads, lets a
/// sixth through in the end: that none of so many was content is no chance, then.
pub(super) const LAST: usize = 32;

/// What the last answers say of one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent findings, not states")]
pub(super) struct Seen {
    /// Others like it are let through.
    pub(super) is_letting_through: bool,
    /// Others are refused as well.
    pub(super) is_refusing_others: bool,
    /// Something isn't refused, be it only a redirect.
    pub(super) is_answering: bool,
    /// Hardly anything isn't refused.
    pub(super) is_refusing_most: bool,
}

impl Outcome {
    fn of_refused(request: &Request) -> Self {
        Self::Refused(name(&request.url), name(request))
    }
}

impl Seen {
    /// Which request is refused is a matter of chance.
    pub(super) fn is_scattered(self) -> bool {
        self.is_letting_through && self.is_refusing_others
    }
}

impl Tally {
    pub(super) fn passed(&mut self, request: &Request) {
        self.note(Outcome::Passed(name(&request.url)));
    }

    pub(super) fn led(&mut self, to: &str) {
        self.note(Outcome::Led(name(to)));
    }

    pub(super) fn refused(&mut self, request: &Request) {
        self.note(Outcome::of_refused(request));
    }

    /// That this one was refused says nothing about others.
    pub(super) fn forget(&mut self, request: &Request) {
        let refused = Outcome::of_refused(request);
        self.last.retain(|(_, outcome)| *outcome != refused);
    }

    /// What is known beside a refusal of `request`. Where a redirect has led to it, other redirects don't tell
    /// whether such as it are let through: they may lead to where the limit is. The parts of a file are others only
    /// if some of them are let through: it may be the file that is refused.
    pub(super) fn beside(&self, request: &Request, now: Instant) -> Seen {
        let (url, request) = (name(&request.url), name(request));
        let recent = || {
            let is_recent = move |at: Instant| now.saturating_duration_since(at) < IDLE;
            self.last.iter().filter(move |(at, _)| is_recent(*at)).map(|&(_, outcome)| outcome)
        };
        let is_led_to = recent().any(|outcome| outcome == Outcome::Led(url));
        let has_content = recent().any(|outcome| matches!(outcome, Outcome::Passed(_)));
        let has_parts = recent().any(|outcome| outcome == Outcome::Passed(url));
        let refused = recent().filter(|outcome| matches!(outcome, Outcome::Refused(..))).count();
        let (all, is_answering) = (recent().count(), refused < recent().count());
        let is_other = |outcome| match outcome {
            Outcome::Refused(of, other) => of != url || has_parts && other != request,
            _ => false,
        };
        Seen {
            is_letting_through: has_content || is_answering && !is_led_to,
            is_refusing_others: recent().any(is_other),
            is_answering,
            is_refusing_most: refused * 5 > all * 4,
        }
    }

    /// Whether it's news that some are refused.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|told| now.saturating_duration_since(told) > IDLE);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }

    fn note(&mut self, outcome: Outcome) {
        self.last.push_back((Instant::now(), outcome));
        if self.last.len() > LAST {
            self.last.pop_front();
        }
    }
}

fn name(what: impl Hash) -> Name {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
