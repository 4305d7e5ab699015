//! Who may do what, and when: every permit of a client, over all calls on it.
//!
//! Requests and bytes have budgets of their own. Large files take one of the
//! [`files`](Scheduler::files) in flight, and a [stream](Scheduler::streams) for each body; small files
//! take one of the [`requests`](Scheduler::requests), and small bodies one of the
//! [`parts`](Scheduler::parts), of which there are many more, as they cost a round trip each and little
//! else. So neither waits for the other. Within each budget the
//! calls take turns.
//!
//! A permit is asked for in this order, so that nobody waits in a circle: a file or a request, an open
//! file, a stream, a copy, a thread. A wait for one is announced ([`Call::turn`](super::Call::turn)),
//! and lasts for as long as anything on the client moves.

mod gate;
mod queue;
pub(crate) mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use gate::{Gate, Permit};
pub(crate) use threads::{OffWorker, Span, Threads};

use crate::call::progress::Counters;
use crate::model::error::Error;
use crate::sys::limits;

/// A file, or a body, of at most so many bytes counts as a request: on most networks it takes no
/// longer than its round trip.
pub(crate) const SMALL: u64 = 512 << 10;

/// Streams of large bodies at a time, for each large file that may be in flight.
const STREAMS_PER_FILE: usize = 2;

/// What a process with few descriptors (256 on macOS) and one with many can afford. A large file
/// takes three descriptors (lock, partial file, journal) and a small one as many and a connection.
struct Budgets {
    /// Large files in flight, whatever was asked for.
    files: usize,
    /// Large files that are open: those in flight, and those whose content is complete and that are
    /// being synced and named. File systems join syncs that run side by side, so this is far more
    /// than the files in flight need to be.
    open: usize,
    streams: usize,
    requests: usize,
}

impl Budgets {
    /// 231 descriptors, of 256.
    const FEW: Self = Self { files: 16, open: 28, streams: 32, requests: 22 };
    /// Some 45 descriptors with those of the client itself: a small program has them under a limit
    /// of 64.
    const SCARCE: Self = Self { files: 2, open: 3, streams: 4, requests: 5 };
    const MANY: Self = Self { files: 32, open: 44, streams: 48, requests: 96 };
    /// From here on there are many: [`MANY`](Self::MANY) takes 644.
    const ENOUGH: u64 = 800;
    /// Below this, the [`FEW`](Self::FEW) are too many.
    const TIGHT: u64 = 250;

    fn of_process() -> Self {
        let open_files = limits::open_files();
        if open_files < Self::TIGHT {
            Self::SCARCE
        } else if open_files < Self::ENOUGH {
            Self::FEW
        } else {
            Self::MANY
        }
    }
}

/// The permits of one client in one process.
pub(crate) struct Scheduler {
    /// Large files in flight: `max_concurrent_downloads`.
    pub(crate) files: Arc<Gate>,
    /// Large files that are open.
    pub(crate) open: Arc<Gate>,
    /// Streams of large bodies. As many as the network carries.
    pub(crate) streams: Arc<Gate>,
    /// Small files, from their lock to their name, and small bodies.
    pub(crate) requests: Arc<Gate>,
    /// Small bodies of large files. Apart from the small files, which may hold all of theirs.
    pub(crate) parts: Arc<Gate>,
    /// Copies from other files on this machine.
    pub(crate) copies: Arc<Gate>,
    pub(crate) threads: Threads,
    calls: AtomicU64,
    life: Life,
}

/// Until when some call on the client has a right to be waited for.
struct Life {
    epoch: Instant,
    /// Milliseconds since then.
    until: AtomicU64,
}

impl Scheduler {
    /// `files` large ones in flight at a time.
    pub(crate) fn new(files: usize) -> Self {
        let budgets = Budgets::of_process();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let files = files.min(budgets.files);
        Self {
            files: Gate::new(files),
            open: Gate::new(budgets.open),
            streams: Gate::new((files * STREAMS_PER_FILE).min(budgets.streams)),
            requests: Gate::new(budgets.requests),
            parts: Gate::new(budgets.requests / 2),
            copies: Gate::new(cores),
            threads: Threads::default(),
            calls: AtomicU64::new(0),
            life: Life { epoch: Instant::now(), until: AtomicU64::new(0) },
        }
    }

    /// What to say of a call that stands still while jobs of its wait for threads that the system
    /// refuses.
    pub(super) fn out_of_threads(&self, counters: &Counters) -> Option<Error> {
        let refused = self.threads.are_refused() && counters.waits.is_any_in_line();
        let why = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        refused.then(|| threads::refused(&why))
    }

    /// A number for another call.
    pub(super) fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Some call has moved, and ends by itself if it doesn't again for `patience`.
    pub(super) fn moved(&self, patience: Duration) {
        let until = self.life.epoch.elapsed() + patience;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.life.until.fetch_max(until, Ordering::Relaxed);
    }

    /// Whether what holds the permits may still give them back: some call has moved, not too long ago
    /// for its own patience.
    pub(super) fn is_alive(&self) -> bool {
        let now = self.life.epoch.elapsed().as_millis();
        now < u128::from(self.life.until.load(Ordering::Relaxed))
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new(8)
    }
}
