//! What a call is waiting for, so that somebody can tell a call that waits from one that is stuck.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::scheduler::Line;

/// The waits of one call that have not ended. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    waits: BTreeMap<u64, Wait>,
}

#[derive(Debug)]
struct Wait {
    what: Arc<str>,
    since: Instant,
    /// Until when it is no sign of trouble.
    allowed: Instant,
    /// What it is in line for, which others have to give back.
    line: Option<Arc<dyn Line>>,
    /// For the end of a server's rate limit, which is when it's no longer allowed.
    is_limited: bool,
}

/// A wait, until it is dropped.
#[must_use = "the wait ends when this is dropped"]
#[derive(Debug)]
pub struct Waiting {
    waits: Waits,
    id: u64,
}

impl Waits {
    /// Begins a wait for `what` ("another download of a.bin", "storage to send xorb ..."). For as
    /// long as `allowed` it is no sign of trouble if nothing else happens. A wait that has a deadline
    /// of its own, such as one for the network, needs no allowance.
    pub fn begin(&self, what: impl Into<Arc<str>>, allowed: Duration) -> Waiting {
        let allowed = Instant::now() + allowed;
        self.add(what.into(), allowed, None, false)
    }

    /// Begins a wait for the caller to do something, which may take as long as it likes.
    pub(crate) fn begin_for_caller(&self, what: impl Into<Arc<str>>) -> Waiting {
        const FOREVER: Duration = Duration::from_hours(24 * 365);
        self.begin(what, FOREVER)
    }

    /// Begins a wait for the end of a server's rate limit, which is so far away.
    pub(crate) fn begin_limited(&self, what: impl Into<Arc<str>>, wait: Duration) -> Waiting {
        self.add(what.into(), Instant::now() + wait, None, true)
    }

    /// How long it is until the first of the rate limits ends that are waited for; `None`: there are
    /// none.
    #[must_use]
    pub fn limited_for(&self) -> Option<Duration> {
        let open = self.open();
        let ends = open.waits.values().filter(|wait| wait.is_limited).map(|wait| wait.allowed);
        Some(ends.min()?.saturating_duration_since(Instant::now()))
    }

    /// Begins a wait for one's turn at `line`. It is no sign of trouble for as long as those get on whose
    /// turn it is.
    pub(crate) fn begin_in_line(&self, what: impl Into<Arc<str>>, line: Arc<dyn Line>) -> Waiting {
        self.add(what.into(), Instant::now(), Some(line), false)
    }

    fn add(
        &self,
        what: Arc<str>,
        allowed: Instant,
        line: Option<Arc<dyn Line>>,
        is_limited: bool,
    ) -> Waiting {
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.waits.insert(id, Wait { what, since: Instant::now(), allowed, line, is_limited });
        Waiting { waits: self.clone(), id }
    }

    /// The calls for which these waits are in line. One that is named more than once counts once.
    pub(crate) fn holders(&self) -> Vec<u64> {
        let open = self.open();
        let mut lines: Vec<Arc<dyn Line>> = Vec::new();
        for line in open.waits.values().filter_map(|wait| wait.line.as_ref()) {
            if !lines.iter().any(|known| Arc::ptr_eq(known, line)) {
                lines.push(Arc::clone(line));
            }
        }
        // Outside the lock of the waits: a line has one of its own.
        drop(open);
        lines.iter().flat_map(|line| line.holders()).collect()
    }

    /// Whether some wait is still within its allowance.
    #[must_use]
    pub fn is_any_allowed(&self) -> bool {
        let now = Instant::now();
        self.open().waits.values().any(|wait| now < wait.allowed)
    }

    /// All of them, the oldest first: "the lock /x (12 s), ...".
    #[must_use]
    pub fn describe(&self) -> String {
        const SHOWN: usize = 8;
        let open = self.open();
        if open.waits.is_empty() {
            return "nothing that is known".to_owned();
        }
        let mut text = String::new();
        for (i, wait) in open.waits.values().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            // Writing to a String can't fail.
            let _ = write!(text, "{comma}{} ({} s)", wait.what, wait.since.elapsed().as_secs());
        }
        if let Some(more @ 1..) = open.waits.len().checked_sub(SHOWN) {
            let _ = write!(text, " and {more} more");
        }
        text
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Allows the wait so much longer, from now on: there is a sign that it is not in vain.
    pub fn allow(&self, more: Duration) {
        if let Some(wait) = self.waits.open().waits.get_mut(&self.id) {
            wait.allowed = Instant::now() + more;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.open().waits.remove(&self.id);
    }
}
