//! The queue between the threads that log and the callback: any thread may push, and records are
//! delivered on the thread of whichever call waits, one at a time.
//!
//! The lock is only ever held for a few instructions, never while foreign code runs. That is what
//! makes it safe to call any function of the library from within the callback, and to fork at any
//! time.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_void};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::{
    XET_LOG_DEBUG, XET_LOG_ERROR, XET_LOG_INFO, XET_LOG_TRACE, XET_LOG_WARN, XetLogCallback,
};
use crate::ptr;

/// Records that wait, at most; then the oldest go.
const CAPACITY: usize = 1000;

/// Where records are delivered to.
#[derive(Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) call: XetLogCallback,
    pub(crate) user_data: *mut c_void,
    pub(crate) max_level: LevelFilter,
}

// SAFETY: `xet.h` says that the callback runs on the threads of many calls, with this pointer,
// which the library only hands on.
unsafe impl Send for Registration {}

/// A record, ready for C.
pub(crate) struct Record {
    level: i32,
    target: CString,
    message: CString,
}

impl Record {
    pub(crate) fn new(level: Level, target: &str, message: &str) -> Self {
        let level = match level {
            Level::ERROR => XET_LOG_ERROR,
            Level::WARN => XET_LOG_WARN,
            Level::INFO => XET_LOG_INFO,
            Level::DEBUG => XET_LOG_DEBUG,
            Level::TRACE => XET_LOG_TRACE,
        };
        Self { level, target: ptr::c_string(target), message: ptr::c_string(message) }
    }
}

struct State {
    registration: Option<Registration>,
    queue: VecDeque<Record>,
    /// Records that were pushed out of the full queue since the last delivery.
    dropped: u64,
    /// The thread that is inside the callback.
    delivering: Option<ThreadId>,
    /// Threads that wait for the callback to be free, and go first.
    waiting: u32,
}

static STATE: Mutex<State> = Mutex::new(State {
    registration: None,
    queue: VecDeque::new(),
    dropped: 0,
    delivering: None,
    waiting: 0,
});

/// Signalled when `delivering` becomes `None`.
static IDLE: Condvar = Condvar::new();

/// Whether the queue holds anything: keeps [`deliver`] off the lock in the common case.
static PENDING: AtomicBool = AtomicBool::new(false);

/// Whether a callback is registered, and from which level on: what filters ask for every event.
/// Changed under the lock only.
static REGISTERED: AtomicBool = AtomicBool::new(false);
static MAX_LEVEL: AtomicU8 = AtomicU8::new(0);

fn lock() -> MutexGuard<'static, State> {
    // Nothing in here panics half-way through a change.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a callback is registered.
pub(crate) fn is_registered() -> bool {
    REGISTERED.load(Ordering::Relaxed)
}

/// The callback's level; OFF without one.
pub(crate) fn max_level() -> LevelFilter {
    match MAX_LEVEL.load(Ordering::Relaxed) {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn level_number(level: LevelFilter) -> u8 {
    match level {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        LevelFilter::TRACE => 5,
    }
}

/// Replaces the callback. Afterwards the previous one isn't running, unless this thread is inside
/// it, and won't run again. Records that wait were meant for the previous one, and go.
pub(crate) fn register(registration: Option<Registration>) {
    let me = thread::current().id();
    let mut state = lock();
    state.waiting += 1;
    while state.delivering.is_some_and(|thread| thread != me) {
        state = IDLE.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    state.waiting -= 1;
    state.registration = registration;
    state.forget_records();
    let level = registration.map_or(LevelFilter::OFF, |registration| registration.max_level);
    REGISTERED.store(registration.is_some(), Ordering::Relaxed);
    MAX_LEVEL.store(level_number(level), Ordering::Relaxed);
}

/// Queues a record. The oldest goes if there are too many.
pub(crate) fn push(level: Level, record: Record) {
    let mut state = lock();
    // The filter may have let it pass while the callback was being replaced.
    if state.registration.is_none_or(|registration| level > registration.max_level) {
        return;
    }
    if state.queue.len() == CAPACITY {
        state.queue.pop_front();
        state.dropped += 1;
    }
    state.queue.push_back(record);
    PENDING.store(true, Ordering::Relaxed);
}

/// Calls the callback for what is queued now, on this thread; returns at once if another thread is
/// doing that, or if this one is inside the callback.
pub(crate) fn deliver() {
    if !PENDING.load(Ordering::Relaxed) {
        return;
    }
    // Bounded by what a full queue holds, so that a chatty level can't keep a call from its work.
    for _ in 0..=CAPACITY {
        let Some((registration, record)) = begin() else { return };
        let _end = End;
        let Record { level, target, message } = record;
        let (target, message): (&CStr, &CStr) = (&target, &message);
        // SAFETY: the callback is registered, and `register` waits for `_end` before it lets go of
        // it. The strings live until it returns.
        unsafe {
            (registration.call)(level, target.as_ptr(), message.as_ptr(), registration.user_data);
        }
    }
}

/// Takes the next record, and the callback for it, which is this thread's until [`End`] is dropped.
fn begin() -> Option<(Registration, Record)> {
    let mut state = lock();
    if state.delivering.is_some() || state.waiting > 0 {
        return None;
    }
    let registration = state.registration?;
    let record = state.next()?;
    state.delivering = Some(thread::current().id());
    Some((registration, record))
}

/// Marks the callback as free when dropped.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        lock().delivering = None;
        IDLE.notify_all();
    }
}

impl State {
    fn next(&mut self) -> Option<Record> {
        if self.dropped > 0 {
            let text = format!("{} older log records were dropped", self.dropped);
            self.dropped = 0;
            return Some(Record::new(Level::WARN, "xet::log", &text));
        }
        let next = self.queue.pop_front();
        if next.is_none() {
            PENDING.store(false, Ordering::Relaxed);
        }
        next
    }

    fn forget_records(&mut self) {
        self.queue.clear();
        self.dropped = 0;
        PENDING.store(false, Ordering::Relaxed);
    }
}

/// Keeps the lock usable in forked children: nobody else holds it at the moment of the fork.
#[cfg(unix)]
pub(crate) mod fork {
    use std::cell::RefCell;
    use std::sync::MutexGuard;
    use std::thread;

    use super::{State, lock};
    use xet_ffi_core::model::error::{Error, Result};
    use xet_ffi_core::sys::fork::{Hooks, innermost};

    thread_local! {
        /// The lock, from just before a fork to just after it.
        static HELD: RefCell<Option<MutexGuard<'static, State>>> = const { RefCell::new(None) };
    }

    /// Has the functions below run at every fork. The engine's threads may log until it begins.
    pub(in super::super) fn prepare_for_forks() -> Result<()> {
        innermost(Hooks { before, in_parent, in_child })
            .map_err(|error| Error::internal(format!("pthread_atfork: {error}")))
    }

    fn before() {
        let state = lock();
        // A thread that is ending has no place to keep it; then the lock is free during the fork,
        // as long as nobody takes it.
        let _ = HELD.try_with(|held| held.replace(Some(state)));
    }

    fn in_parent() {
        let _ = HELD.try_with(RefCell::take);
    }

    fn in_child() {
        if let Ok(Some(mut state)) = HELD.try_with(RefCell::take) {
            // The other threads don't exist here, and the parent delivers what they have queued.
            state.delivering = state.delivering.filter(|thread| *thread == thread::current().id());
            state.waiting = 0;
            state.forget_records();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
