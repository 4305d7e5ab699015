//! What a call shares with other nodes, and how long it waits for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::call::progress::Movement;
use crate::tier::Tier;

/// How long a call stands still for others before a part of it goes on alone: the first time. Then it's half of that, and
/// so on: altogether that is two seconds, and after that next to nothing for each part.
const FIRST: Duration = Duration::from_secs(1);
const LEAST: Duration = Duration::from_millis(50);

/// A tier, as one call sees it.
pub(crate) struct Sharing {
    tier: Arc<Tier>,
    still: Mutex<Still>,
}

/// Whether a call gets on.
struct Still {
    seen: Movement,
    since: Instant,
    limit: Duration,
}

impl Sharing {
    pub(crate) fn new(tier: Arc<Tier>) -> Arc<Self> {
        let still = Still { seen: Movement::default(), since: Instant::now(), limit: FIRST };
        Arc::new(Self { tier, still: Mutex::new(still) })
    }

    pub(crate) fn tier(&self) -> &Arc<Tier> {
        &self.tier
    }

    /// Whether a part of the call that waits for others may go on doing so: while the call gets on otherwise, or hasn't
    /// stood still for long. Then one part is told to go on alone, and the others wait for that.
    pub(crate) fn may_wait(&self, call: &Call) -> bool {
        // Each change leaves it whole.
        let mut still = self.still.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, now) = (call.counters.movement(), Instant::now());
        if seen != still.seen {
            (still.seen, still.since) = (seen, now);
        }
        if now - still.since < still.limit {
            return true;
        }
        (still.since, still.limit) = (now, (still.limit / 2).max(LEAST));
        false
    }
}
