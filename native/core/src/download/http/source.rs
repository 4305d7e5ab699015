//! Where a file comes from over plain HTTP.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use url::Url;

use super::known::{Known, Lengths};
use crate::call::progress::Counters;
use crate::http::origin::authority;
use crate::http::{Coding, Retry, RetryPolicy};
use crate::hub::{Content, Hub, Place};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo};

/// Where one file comes from over plain HTTP.
pub(crate) struct Source<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) policy: RetryPolicy,
    pub(crate) repo: &'a Repo,
    pub(crate) commit: &'a CommitId,
    pub(crate) known: &'a Known,
    /// What content was decoded from, if it came encoded.
    pub(crate) decoded: OnceLock<Coding>,
    /// Where storage had the last part of it.
    place: Mutex<Option<Place>>,
    /// URLs in a row that storage has refused.
    refusals: Mutex<Refusals>,
    /// How much of it is given at once.
    lengths: Mutex<Lengths>,
}

/// How many there were, one after the other: of several streams that were refused side by side, one counts.
#[derive(Debug, Default)]
struct Refusals {
    count: u32,
    last: Option<Instant>,
}

impl Refusals {
    /// What was `begun` then was refused.
    fn add(&mut self, begun: Instant) {
        if self.last.is_none_or(|last| begun >= last) {
            self.count += 1;
            self.last = Some(Instant::now());
        }
    }
}

/// How often a request may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tries {
    /// Once: whoever asks tries again by himself.
    One,
    /// As the policy has it.
    All,
}

impl<'a> Source<'a> {
    pub(crate) fn new(
        hub: &'a Hub,
        policy: RetryPolicy,
        (repo, commit): (&'a Repo, &'a CommitId),
        known: &'a Known,
    ) -> Self {
        Self {
            hub,
            policy,
            repo,
            commit,
            known,
            decoded: OnceLock::new(),
            place: Mutex::default(),
            refusals: Mutex::default(),
            lengths: Mutex::default(),
        }
    }

    /// The most bytes to ask for at once; `None`: nothing says that there is a most.
    pub(super) fn longest(&self) -> Option<u64> {
        self.lengths().longest(self.known)
    }

    /// Whether to ask again where so many bytes were refused with `error`: for as many, or for
    /// [fewer](Self::longest).
    pub(super) fn asks_again(&self, asked: u64, error: &Error) -> bool {
        let asks = self.lengths().refused(self.known, asked, error);
        if asks {
            tracing::info!(asked, longest = self.longest(), %error, "a number of bytes is refused");
        }
        asks
    }

    /// Opens a part of the file; see [`Hub::open_part`]. Where storage had another one a moment ago, the Hub
    /// isn't asked again.
    pub(super) async fn open_part(
        &self,
        entry: &Entry,
        part: &Range<u64>,
        tries: Tries,
        counters: &Counters,
    ) -> Result<Option<Content>> {
        let (repo, commit) = (self.repo, self.commit);
        let place = self.place().clone();
        if let Some(place) = place {
            let opened = self.hub.open_part_at(&place, repo, commit, entry, part, counters).await;
            match opened {
                Ok(opened) => {
                    self.lengths().given(self.known, part.end - part.start);
                    return Ok(opened);
                }
                Err(error) => {
                    // Who refuses for now has nothing against the URL.
                    if error.context().hold.is_none() {
                        self.forget(&place);
                    }
                    if error.is_transient() {
                        return Err(error);
                    }
                    // What it says may be true of the URL alone, which has expired.
                    tracing::debug!(file = %entry.path, %error, "asking the Hub for another URL");
                }
            }
        }
        let begun = Instant::now();
        let opened = self.hub(tries).open_part(repo, commit, entry, part, counters).await;
        let opened = self.noting(begun, part.end - part.start, opened)?;
        if let Some(content) = opened.as_ref().filter(|content| content.is_part) {
            self.place().clone_from(&content.place);
        }
        Ok(opened)
    }

    /// Opens the file from an offset on, up to another one or its end; see [`Hub::open_file`].
    pub(super) async fn open_whole(
        &self,
        entry: &Entry,
        from: u64,
        to: Option<u64>,
        tries: Tries,
        counters: &Counters,
    ) -> Result<Content> {
        // Some CDNs have refused ranges as if their signatures were bad.
        let (from, to) = if self.are_refused() { (0, None) } else { (from, to) };
        let begun = Instant::now();
        let hub = self.hub(tries);
        let opened = hub.open_file(self.repo, self.commit, entry, from, to, counters).await;
        self.noting(begun, to.unwrap_or(entry.size).saturating_sub(from), opened)
    }

    fn hub(&self, tries: Tries) -> Cow<'_, Hub> {
        match tries {
            Tries::All => Cow::Borrowed(self.hub),
            Tries::One => Cow::Owned(self.hub.with_retry(self.policy.once())),
        }
    }

    /// Waits for another attempt after one that failed with `error` and had brought `brought` bytes; gives the
    /// error back when there is to be none. What is of no use to other files isn't tried as often by each.
    pub(super) async fn pause(
        &self,
        retry: &mut Retry,
        error: Error,
        brought: u64,
        counters: &Counters,
    ) -> Result<()> {
        let host = error.context().url.as_deref().map(host).filter(|_| is_outage(&error));
        let Some(host) = host else { return retry.pause(error, brought, counters).await };
        let outages = &self.known.outages;
        let way_out = format!(
            "{host} does so again and again, with what the Hub has just signed for it: try later, or on another \
             network; it's an outage of that host, or of something on the way to it"
        );
        if outages.reason(&host).is_some() {
            return Err(error.noting(&way_out));
        }
        let paused = retry.pause(error, brought, counters).await;
        paused.map_err(|error| {
            outages.gave_up(&host, &error);
            error.noting(&way_out)
        })
    }

    /// Whether a refusal is that of a URL, and not the first one in a row: a fresher one is no better.
    pub(super) fn refuses(&self, error: &Error) -> bool {
        error.is_refused_url() && self.are_refused()
    }

    fn are_refused(&self) -> bool {
        self.refusals().count > 1
    }

    fn noting<T>(&self, begun: Instant, asked: u64, opened: Result<T>) -> Result<T> {
        match &opened {
            Ok(_) => {
                *self.refusals() = Refusals::default();
                self.lengths().given(self.known, asked);
            }
            Err(error) if error.is_refused_url() => self.refusals().add(begun),
            Err(_) => {}
        }
        opened
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lengths(&self) -> MutexGuard<'_, Lengths> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, place: &Place) {
        let mut known = self.place();
        if known.as_ref() == Some(place) {
            *known = None;
        }
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a server answers, and gives nothing: it refuses what the Hub has signed, or sends empty bodies.
fn is_outage(error: &Error) -> bool {
    let status = error.context().http_status;
    error.is_refused_url()
        || (error.kind() == Kind::Connection && matches!(status, Some(200..=299)))
}

/// The server of a URL, which may be bare.
pub(super) fn host(url: &str) -> String {
    Url::parse(url).ok().filter(Url::has_host).map_or_else(|| url.to_owned(), |url| authority(&url))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Streams that are refused side by side are one refusal of several in a row.
    #[test]
    fn refusals_side_by_side_are_one() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        for _ in 0..8 {
            refusals.add(begun);
        }
        assert_eq!(refusals.count, 1);
        refusals.add(Instant::now() + Duration::from_millis(1));
        assert_eq!(refusals.count, 2);
    }
}
