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
    /// No server gives less than this at a time.
    const SHORTEST: u64 = 256 << 10;

    /// Nothing yet, but for what other calls on the client have found out about hosts.
    pub(crate) fn new(outages: &Arc<Outages>) -> Self {
        Self { longest: AtomicU64::new(u64::MAX), outages: Arc::clone(outages) }
    }

    /// The most bytes to ask for at once; `None`: nobody has refused any number of them.
    pub(super) fn longest(&self) -> Option<u64> {
        Some(self.longest.load(Ordering::Relaxed)).filter(|&longest| longest < u64::MAX)
    }

    /// So many bytes at once were refused. False: fewer aren't worth another question.
    pub(super) fn shorten(&self, refused: u64) -> bool {
        let shorter = (refused / 2).min(PART);
        let is_worth_it = shorter >= Self::SHORTEST;
        if is_worth_it {
            self.longest.fetch_min(shorter, Ordering::Relaxed);
        }
        is_worth_it
    }
}

/// Whether a refusal may be due to the length of what was asked for: CDNs don't say so.
pub(super) fn is_too_long(error: &Error) -> bool {
    matches!(error.kind(), Kind::BadRequest | Kind::InvalidResponse)
        && matches!(error.context().http_status, Some(400 | 413))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is refused is halved, from a part on, and not for ever.
    #[test]
    fn what_is_refused_is_halved() {
        let known = Known::new(&Arc::new(Outages::of_content()));
        assert_eq!(known.longest(), None);
        assert!(known.shorten(60_000_000_000));
        assert_eq!(known.longest(), Some(PART));
        let mut halvings = 0;
        while known.shorten(known.longest().unwrap()) {
            halvings += 1;
        }
        assert_eq!((halvings, known.longest()), (6, Some(Known::SHORTEST)));
        // Somebody who has asked for more hears of it later.
        assert!(known.shorten(PART));
        assert_eq!(known.longest(), Some(Known::SHORTEST));
    }
}
