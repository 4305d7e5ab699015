//! The threads of a client that may block: on the disk, or on pieces that the network brings.
//!
//! Not the runtime's: where the system refuses a thread, tokio's pool leaves the job lying for ever.
//! Here the job waits for a thread that there is, and if there are too few for anything to get on,
//! its caller gets an error.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::CallId;
use super::gate::KEPT_FREE;
use super::life::Line;
use super::queue::{FairQueue, Holdings};
use crate::model::error::{Error, Kind, Result};

/// Threads for file I/O, hashing and decompression, at most.
const MOST: usize = 96;

/// Without so many, a job that waits for the network could keep out the one that it waits for.
const LEAST: usize = 2;

/// How long a thread waits for something to do.
const KEEP: Duration = Duration::from_secs(10);

type Task = Box<dyn FnOnce() + Send>;

/// How long a job lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// As long as its own work takes.
    Short,
    /// As long as something else goes on: it takes pieces from a queue, as the network fills that.
    /// One thread is always left for what such a job may be waiting for.
    Long,
}

/// Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Threads(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    ended: Condvar,
    refused: AtomicBool,
}

#[derive(Default)]
struct State {
    short: FairQueue<(CallId, Task)>,
    long: FairQueue<(CallId, Task)>,
    /// Whose jobs the threads are at.
    held: Holdings,
    threads: usize,
    idle: usize,
    /// Whose long jobs they are at.
    long_held: Holdings,
    closing: bool,
}

thread_local! {
    static OWNER: Cell<Owner> = const { Cell::new(Owner::Caller) };
}

/// Whose a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody's here: it mustn't block for ever.
    Caller,
    /// The runtime's: it mustn't block at all.
    Runtime,
    /// One of these.
    Disk,
}

/// Says that this thread is one of the runtime's.
pub(crate) fn mark_worker() {
    OWNER.set(Owner::Runtime);
}

/// Whose this thread is.
pub(super) fn owner() -> Owner {
    // A thread that is ending runs nothing of ours any more.
    OWNER.try_with(Cell::get).unwrap_or(Owner::Caller)
}

impl Threads {
    /// Has `task` run as one of `call`'s. Fails if the system refuses even the few threads without
    /// which nothing gets on.
    pub(in crate::call) fn submit(&self, call: &CallId, span: Span, task: Task) -> Result<()> {
        let shared = &self.0;
        let mut state = shared.state();
        while state.threads < LEAST {
            shared.begin_thread(&mut state)?;
        }
        match span {
            Span::Short => state.short.push(call.number(), (call.clone(), task)),
            Span::Long => state.long.push(call.number(), (call.clone(), task)),
        }
        // One idle thread is kept for short jobs: for long ones it is none.
        let kept = usize::from(state.long.len() > 0);
        let waiting = state.short.len() + state.long.len();
        if state.idle.saturating_sub(kept) < waiting && state.threads < MOST {
            // It waits for one of those that there are.
            let refused = shared.begin_thread(&mut state).is_err();
            shared.refused.store(refused, Ordering::Relaxed);
        }
        drop(state);
        shared.work.notify_one();
        Ok(())
    }

    /// Whether the system has refused the thread that was asked for last.
    pub(super) fn are_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Whether a job of `call`'s waits for a thread.
    pub(super) fn have_waiting(&self, call: u64) -> bool {
        let state = self.0.state();
        state.short.has(call) || state.long.has(call)
    }

    /// What a job waits in line for.
    pub(in crate::call) fn line(&self) -> Arc<dyn Line> {
        Arc::clone(&self.0) as Arc<dyn Line>
    }

    /// Ends the threads, and waits for that, but no longer than `limit`: one may be inside a system
    /// call that doesn't come back.
    pub(crate) fn close(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.0.state();
        state.closing = true;
        self.0.work.notify_all();
        while state.threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn begin_thread(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let shared = Arc::clone(self);
        let begun = std::thread::Builder::new().name("xet-disk".into()).spawn(move || shared.run());
        begun.map_err(|error| refused(&error))?;
        state.threads += 1;
        Ok(())
    }

    fn run(&self) {
        OWNER.set(Owner::Disk);
        let mut state = self.state();
        let mut since = Instant::now();
        loop {
            if let Some((span, call, task)) = state.next() {
                drop(state);
                // Whoever waits for the result learns of the panic by not getting one.
                let _ = catch_unwind(AssertUnwindSafe(task));
                state = self.state();
                state.held.remove(call, 1);
                if span == Span::Long {
                    state.long_held.remove(call, 1);
                    // Another one may have waited for this.
                    self.work.notify_one();
                }
                since = Instant::now();
                continue;
            }
            let mut left = KEEP.saturating_sub(since.elapsed());
            if left.is_zero() && state.short.len() + state.long.len() > 0 {
                // It isn't this one's turn yet, and nobody else may be there to take it.
                left = KEEP;
            }
            if state.closing || left.is_zero() {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
        state.threads -= 1;
        drop(state);
        self.ended.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What to do next, which counts from here on: the job, the number of its call, and how long it lasts.
    fn next(&mut self) -> Option<(Span, u64, Task)> {
        let (span, (call, task)) = match self.short.pop() {
            Some(next) => (Span::Short, next),
            None => (Span::Long, self.next_long()?),
        };
        call.had_turn();
        let call = call.number();
        self.held.add(call, 1);
        if span == Span::Long {
            self.long_held.add(call, 1);
        }
        Some((span, call, task))
    }

    fn next_long(&mut self) -> Option<(CallId, Task)> {
        if self.long_held.total() + 1 >= self.threads {
            return None;
        }
        // As with a gate, another call finds a place at once.
        let held = &self.long_held;
        self.long.pop_first(|(call, _)| held.of(call.number()) < MOST - MOST / KEPT_FREE)
    }
}

impl Line for Shared {
    fn holders(&self) -> Vec<u64> {
        self.state().held.calls()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

/// The error for a thread that the system doesn't give.
pub(crate) fn refused(error: &std::io::Error) -> Error {
    let message = format!(
        "can't start a thread: {error}; this process is at a limit of the machine: processes and \
         threads (ulimit -u, or the container's pids limit) or address space (ulimit -v)"
    );
    Error::new(Kind::ResourceLimit, message)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// However many jobs wait for the network, one that they may wait for finds a thread.
    #[test]
    fn long_jobs_leave_a_thread_for_short_ones() {
        let threads = Threads::default();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for _ in 0..MOST * 2 {
            let released = Arc::clone(&released);
            let wait = move || {
                let _ = released.lock().unwrap().recv();
            };
            threads.submit(&CallId::new(1), Span::Long, Box::new(wait)).unwrap();
        }
        let (done, is_done) = mpsc::channel();
        threads
            .submit(&CallId::new(1), Span::Short, Box::new(move || done.send(()).unwrap()))
            .unwrap();
        is_done.recv_timeout(LIMIT).unwrap();
        drop(release);
        threads.close(LIMIT);
        assert_eq!(threads.0.state().threads, 0);
    }

    /// However many long jobs one call has, another one's begins at once.
    #[test]
    fn one_call_does_not_take_all_threads() {
        let threads = Threads::default();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        for _ in 0..MOST * 2 {
            let released = Arc::clone(&released);
            let wait = move || {
                let _ = released.lock().unwrap().recv();
            };
            threads.submit(&CallId::new(1), Span::Long, Box::new(wait)).unwrap();
        }
        let (done, is_done) = mpsc::channel();
        let job = move || done.send(()).unwrap();
        threads.submit(&CallId::new(2), Span::Long, Box::new(job)).unwrap();
        is_done.recv_timeout(LIMIT).unwrap();
        drop(release);
        threads.close(LIMIT);
    }

    /// A long job doesn't take the idle thread that is kept for short ones for its own.
    #[test]
    fn each_long_job_finds_a_thread() {
        let threads = Threads::default();
        let mut held = Vec::new();
        for _ in 0..8 {
            let (release, released) = mpsc::channel::<()>();
            let (begun, has_begun) = mpsc::channel();
            let wait = move || {
                let _ = begun.send(());
                let _ = released.recv();
            };
            threads.submit(&CallId::new(1), Span::Long, Box::new(wait)).unwrap();
            has_begun.recv_timeout(LIMIT).unwrap();
            let (done, is_done) = mpsc::channel();
            threads
                .submit(&CallId::new(1), Span::Short, Box::new(move || done.send(()).unwrap()))
                .unwrap();
            is_done.recv_timeout(LIMIT).unwrap();
            held.push(release);
        }
        drop(held);
        threads.close(LIMIT);
    }

    /// A job that panics takes its thread's other jobs with it no more than its own result.
    #[test]
    fn a_panic_ends_one_job() {
        let threads = Threads::default();
        let (done, is_done) = mpsc::channel();
        for _ in 0..LEAST * 4 {
            threads.submit(&CallId::new(1), Span::Short, Box::new(|| panic!("x"))).unwrap();
        }
        threads
            .submit(&CallId::new(1), Span::Short, Box::new(move || done.send(()).unwrap()))
            .unwrap();
        is_done.recv_timeout(LIMIT).unwrap();
        threads.close(LIMIT);
        assert_eq!(threads.0.state().threads, 0);
    }
}
