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
//! file, memory, a stream, a copy, a thread. A wait for one is announced ([`Gate::turn`]), and lasts for as long
//! as those get on who have what is waited for ([`life`]).

mod gate;
mod identity;
mod life;
mod off_worker;
mod queue;
pub(crate) mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use gate::{Gate, Permit};
pub(crate) use identity::CallId;
pub(crate) use life::Line;
pub(crate) use off_worker::OffWorker;
pub(crate) use threads::{Span, Threads};

use crate::call::progress::Counters;
use crate::model::error::Error;
use crate::sys::limits;

/// A file, or a body, of at most so many bytes counts as a request: on most networks it takes no
/// longer than its round trip.
pub(crate) const SMALL: u64 = 512 << 10;

/// Small files at a time, to begin with: where answers come at once, more connections only cost work.
const FIRST_REQUESTS: usize = 16;

/// Where even the quickest small file takes longer than this, they wait for a network, and more of them can do so
/// side by side. (Others may take long because there are many.)
const WORTH_MORE: Duration = Duration::from_millis(20);

/// Streams of large bodies at a time, for each large file that may be in flight.
const STREAMS_PER_FILE: usize = 2;

/// Threads that help walks: two walks on a slow disk have all that they want.
const WALKERS: usize = 48;

/// Bytes of content that uploads hold at a time, all together: one call's share is enough for what two
/// large files take.
const CONTENT: usize = 148 << 20;

/// Bytes of content that reads in place hold at a time, all together, that their callers haven't taken yet; each read
/// may hold one part besides.
const READS: usize = 40 << 20;

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
    /// Small files, from their lock to their name, and small bodies. More at a time as they turn out to
    /// be [worth it](WORTH_MORE).
    pub(crate) requests: Arc<Gate>,
    /// Small bodies of large files. Apart from the small files, which may hold all of theirs.
    pub(crate) parts: Arc<Gate>,
    /// Copies from other files on this machine.
    pub(crate) copies: Arc<Gate>,
    /// Threads that help walks. Nobody waits for one: a walk goes on by itself.
    pub(crate) walkers: Arc<Gate>,
    /// Memory for what is uploaded, in bytes of content that has been read and isn't sent yet.
    pub(crate) content: Arc<Gate>,
    /// Memory for what is read in place, in bytes of content that is on its way, or waits for its caller.
    pub(crate) reads: Arc<Gate>,
    /// Questions where content is, each of which takes a connection to the CAS. Nothing else is waited for with one.
    pub(crate) questions: Arc<Gate>,
    pub(crate) threads: Threads,
    /// The shortest time that a small file has taken to come, in microseconds.
    quickest: AtomicU64,
    numbers: AtomicU64,
    calls: life::Calls,
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
            requests: Gate::growing(FIRST_REQUESTS, budgets.requests),
            parts: Gate::new(budgets.requests / 2),
            questions: Gate::new(budgets.requests / 2),
            copies: Gate::new(cores),
            walkers: Gate::new(WALKERS),
            content: Gate::new(CONTENT),
            reads: Gate::new(READS),
            threads: Threads::default(),
            quickest: AtomicU64::new(u64::MAX),
            numbers: AtomicU64::new(0),
            calls: life::Calls::default(),
        }
    }

    /// A small file has come over the network, in so long.
    pub(crate) fn small_file_came(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let quickest = self.quickest.fetch_min(micros, Ordering::Relaxed).min(micros);
        if Duration::from_micros(quickest) >= WORTH_MORE {
            self.requests.widen();
        }
    }

    /// What to say of a call that stands still while jobs of its wait for threads that the system
    /// refuses.
    pub(super) fn out_of_threads(&self, counters: &Counters) -> Option<Error> {
        let refused =
            self.threads.are_refused() && self.threads.have_waiting(counters.call().number());
        let why = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        refused.then(|| threads::refused(&why))
    }

    /// The identity of another call.
    pub(super) fn identity(&self) -> CallId {
        CallId::new(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    /// The call that `counters` count for has moved, and ends by itself if it doesn't again for
    /// `patience`.
    pub(super) fn moved(&self, counters: &Counters, patience: Duration) {
        self.calls.moved(counters.call(), &counters.waits, patience);
    }

    /// The call that `counters` count for is over.
    pub(super) fn ended(&self, counters: &Counters) {
        self.calls.ended(counters.call().number());
    }

    /// Whether that call waits in line behind others that get on, or has just had its turn.
    pub(super) fn may_have_a_turn(&self, counters: &Counters) -> bool {
        self.calls.may_have_a_turn(counters.call().number())
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More small files at a time are for networks that are far away: on a near one, where one has come at once, the
    /// others are slow because they are many.
    #[test]
    fn small_files_get_more_room_only_where_all_are_slow() {
        let scheduler = Scheduler::new(8);
        let width = scheduler.requests.width();
        scheduler.small_file_came(Duration::from_millis(90));
        assert_eq!(scheduler.requests.width(), width + 1);
        scheduler.small_file_came(Duration::from_millis(2));
        scheduler.small_file_came(Duration::from_millis(90));
        assert_eq!(scheduler.requests.width(), width + 1);
    }
}
