//! What a call is waiting for, so that somebody can tell a call that waits from one that is stuck.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// It is for a permit, which others have to give back.
    in_line: bool,
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
        self.add(what.into(), allowed, false)
    }

    /// Begins a wait for one's turn. It is no sign of trouble for as long as those get on whose turn
    /// it is.
    pub fn begin_in_line(&self, what: impl Into<Arc<str>>) -> Waiting {
        self.add(what.into(), Instant::now(), true)
    }

    fn add(&self, what: Arc<str>, allowed: Instant, in_line: bool) -> Waiting {
        let mut open = self.open();
        let id = open.next;
        open.next += 1;
        open.waits.insert(id, Wait { what, since: Instant::now(), allowed, in_line });
        Waiting { waits: self.clone(), id }
    }

    /// Whether some wait is for one's turn.
    #[must_use]
    pub fn is_any_in_line(&self) -> bool {
        self.open().waits.values().any(|wait| wait.in_line)
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
