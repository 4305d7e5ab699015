//! What servers of plain content have shown to the files of one call, so that not each finds it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::parts::PART;
use crate::cas::Outages;
use crate::model::error::{Error, Kind};

/// What is known.
pub(crate) struct Known {
    /// The most bytes to ask for at once.
    longest: AtomicU64,
    /// Which hosts are of no use.
    pub(super) outages: Arc<Outages>,
}

impl Known {
    /// Nothing yet, but for what other calls on the client have found out about hosts.
    pub(crate) fn new(outages: &Arc<Outages>) -> Self {
        Self { longest: AtomicU64::new(u64::MAX), outages: Arc::clone(outages) }
    }

    /// The most bytes to ask for at once; `None`: nobody has found out that there is a most.
    fn longest(&self) -> Option<u64> {
        Some(self.longest.load(Ordering::Relaxed)).filter(|&longest| longest < u64::MAX)
    }
}

/// What one file finds out about the number of bytes to ask for at once.
///
/// A server that gives only so many refuses more without saying why, and so does one that has lost its way for a
/// moment. So it's asked once more, then for fewer, and others hear of it when that has helped.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// What this file asks for at most, and nobody else yet.
    tried: Option<u64>,
    /// What was refused once.
    doubted: Option<u64>,
}

impl Lengths {
    /// No server gives less than this at a time.
    const SHORTEST: u64 = 256 << 10;

    /// The most bytes to ask for at once; `None`: nothing says that there is a most.
    pub(super) fn longest(&self, known: &Known) -> Option<u64> {
        known.longest().into_iter().chain(self.tried).min()
    }

    /// So many bytes at once were refused with `error`. Whether it's worth another question, for as many or for
    /// [fewer](Self::longest).
    pub(super) fn refused(&mut self, known: &Known, asked: u64, error: &Error) -> bool {
        if is_odd(error) && self.doubted != Some(asked) {
            self.doubted = Some(asked);
            return true;
        }
        if !is_too_long(error) {
            return false;
        }
        let shorter = (asked / 2).min(PART);
        let is_worth_it = shorter >= Self::SHORTEST;
        if is_worth_it && self.longest(known).is_none_or(|longest| longest >= asked) {
            self.tried = Some(shorter);
        }
        is_worth_it
    }

    /// So many bytes were given.
    pub(super) fn given(&mut self, known: &Known, asked: u64) {
        self.doubted = None;
        if let Some(tried) = self.tried.take()
            && asked <= tried
        {
            known.longest.fetch_min(tried, Ordering::Relaxed);
        }
    }
}

/// Whether an answer to who asks for a file that is listed may be an oddity of one server or one moment, be it a
/// refusal or a redirect that leads nowhere: neither a matter of rights or limits, for which there are other ways,
/// nor plain words about what was asked for.
pub(super) fn is_odd(error: &Error) -> bool {
    let (kind, context) = (error.kind(), error.context());
    let is_of_the_file = context.from_storage
        || matches!(kind, Kind::BadRequest | Kind::InvalidResponse | Kind::NotFound);
    let is_plain = matches!(context.http_status, Some(401..=403 | 407 | 408 | 413 | 429));
    // What may pass has been asked for again already.
    let is_open = !is_plain && !error.is_transient();
    is_of_the_file && is_open && matches!(context.http_status, Some(200..=499))
}

/// Whether a refusal may be due to the length of what was asked for: CDNs don't say so.
fn is_too_long(error: &Error) -> bool {
    matches!(error.kind(), Kind::BadRequest | Kind::InvalidResponse)
        && matches!(error.context().http_status, Some(400 | 413))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16) -> Error {
        Error::new(Kind::InvalidResponse, "no").with(|c| c.http_status = Some(status))
    }

    fn known() -> Known {
        Known::new(&Arc::new(Outages::of_content()))
    }

    /// What is refused twice is halved, from a part on, and not for ever; others hear of it when it's of use.
    #[test]
    fn what_is_refused_is_halved() {
        let (known, mut lengths) = (known(), Lengths::default());
        assert_eq!(lengths.longest(&known), None);
        for _ in 0..2 {
            assert_eq!(lengths.longest(&known), None);
            assert!(lengths.refused(&known, 60_000_000_000, &error(400)));
        }
        assert_eq!(lengths.longest(&known), Some(PART));
        let (mut asked, mut questions) = (PART, 0);
        while lengths.refused(&known, asked, &error(400)) {
            asked = lengths.longest(&known).unwrap();
            questions += 1;
        }
        assert_eq!((questions, asked), (2 * 6 + 1, Lengths::SHORTEST));
        assert_eq!(known.longest(), None, "it didn't help");
        lengths.given(&known, asked);
        assert_eq!(known.longest(), Some(Lengths::SHORTEST));
        assert_eq!(Lengths::default().longest(&known), Some(Lengths::SHORTEST));
    }

    /// Whatever makes no sense may be of one moment; not what is said in words, nor what has been asked for again.
    #[test]
    fn what_makes_no_sense_is_odd() {
        let of = |kind, status| Error::new(kind, "").with(|c| c.http_status = Some(status));
        for status in [200, 204, 206, 300, 302, 304, 305, 400, 418] {
            assert!(is_odd(&of(Kind::InvalidResponse, status)), "{status}");
        }
        assert!(is_odd(&of(Kind::NotFound, 404)) && is_odd(&of(Kind::NotFound, 410)));
        for (kind, status) in [
            (Kind::EntryNotFound, 404),
            (Kind::Forbidden, 403),
            (Kind::Unauthorized, 401),
            (Kind::ServerError, 500),
        ] {
            assert!(!is_odd(&of(kind, status)), "{status}");
        }
        assert!(!is_odd(&of(Kind::InvalidResponse, 200).with(|c| c.may_pass = true)));
    }

    /// One odd refusal tells nothing of lengths, nor what was refused of something else, nor what was given
    /// after all; a server that says "too long" is believed at once.
    #[test]
    fn an_odd_refusal_is_no_limit() {
        let (known, mut lengths) = (known(), Lengths::default());
        assert!(lengths.refused(&known, PART, &error(404)), "it's asked once more");
        assert!(!lengths.refused(&known, PART, &error(404)), "which says nothing of the length");
        lengths.given(&known, PART);
        assert!(lengths.refused(&known, PART, &error(400)));
        lengths.given(&known, PART);
        assert!(lengths.refused(&known, PART, &error(400)));
        assert_eq!(lengths.longest(&known), None);
        assert!(lengths.refused(&known, PART, &error(413)));
        assert_eq!(lengths.longest(&known), Some(PART / 2));
        lengths.given(&known, PART);
        assert_eq!(lengths.longest(&known), None);
    }
}
