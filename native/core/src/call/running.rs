//! An operation on the runtime's threads, and those who wait for it: they report progress, ask for
//! cancellation, keep the time, and do what only the caller's threads may.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::watchdog::Watchdog;
use super::{Call, CallLimits, CallerToken, Observer};
use crate::model::error::{Error, Kind, Result};

/// How often the caller's thread wakes up. The contract of `xet.h` says "at least every 50 ms".
const TICK: Duration = Duration::from_millis(40);

/// How long a cancelled call waits for its blocking jobs (one write, one hash of a piece) to
/// notice. A job that is inside a slow system call is left to finish alone; it holds what it needs.
/// With a tick before it, this keeps the promise that a cancelled call returns within 100 ms.
const GRACE: Duration = Duration::from_millis(40);
const _: () = assert!(TICK.as_millis() + GRACE.as_millis() <= 80, "20 ms are for the machine");

/// A piece of work that only a thread of the caller's may do, while it waits.
#[derive(Debug)]
pub(crate) enum Errand {
    /// To read from a stream of its.
    Read { stream: usize, buffer: Vec<u8>, reply: oneshot::Sender<Result<(Poll<usize>, Vec<u8>)>> },
    /// To get a token from it.
    Token { reply: oneshot::Sender<Result<Poll<CallerToken>>> },
}

/// Errands that any thread may do which waits for one of several calls. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedErrands(Arc<Mutex<VecDeque<Errand>>>);

impl SharedErrands {
    pub(super) fn add(&self, errand: Errand) {
        self.queue().push_back(errand);
    }

    /// The next one that somebody still waits for.
    fn next(&self) -> Option<Errand> {
        let mut queue = self.queue();
        std::iter::from_fn(|| queue.pop_front()).find(|errand| !errand.is_given_up())
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Errand>> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an operation and those who wait for it meet.
struct Desk<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    errands: VecDeque<Errand>,
    /// Nobody takes errands any more.
    is_closed: bool,
    /// The operation has ended; some of its blocking jobs may still be at work.
    result: Option<Result<T>>,
    /// They have ended, too.
    is_quiet: bool,
}

/// To whom a call's parts hand errands. Knows nothing of what the operation results in.
pub(super) trait TakesErrands: Send + Sync {
    /// False: nobody takes it any more.
    fn take(&self, errand: Errand) -> bool;
}

/// An operation that has been begun. It goes on whether anybody waits for it or not, until it ends, or this is
/// dropped.
pub(crate) struct Running<T> {
    call: Call,
    limits: CallLimits,
    begun: Instant,
    desk: Arc<Desk<T>>,
    task: JoinHandle<()>,
    /// Without it, the operation must not go on.
    _guard: DropGuard,
}

/// What one who waits sees of an operation that has ended, as far as it has.
struct Seen {
    has_ended: bool,
    is_quiet: bool,
}

impl<T: Send + 'static> Running<T> {
    /// Begins `operation`, which ends at the latest when one of `limits` has passed, as far as somebody waits.
    pub(crate) fn begin<F>(runtime: &Handle, call: &Call, limits: CallLimits, operation: F) -> Self
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let begun = Instant::now();
        if let Some(timeout) = limits.timeout
            && let Some(at) = begun.checked_add(timeout)
        {
            call.counters.set_limit(super::progress::TimeLimit { timeout, at });
        }
        let desk = Arc::new(Desk::new());
        let errands: Weak<dyn TakesErrands> = Arc::downgrade(&(Arc::clone(&desk) as Arc<_>));
        let _ = call.errands.set(errands);
        let (inner, ended) = (call.clone(), Arc::clone(&desk));
        let task = async move {
            let result = tokio::select! {
                biased;
                () = inner.cancel.cancelled() => Err(Error::cancelled()),
                result = operation => result,
            };
            // Losing the race above dropped the operation, and with it all of its tasks; what is left
            // are blocking jobs.
            inner.cancel.cancel();
            inner.blocking.close();
            ended.change(|state| state.result = Some(result));
            inner.blocking.wait().await;
            ended.change(|state| state.is_quiet = true);
        };
        let task = runtime.spawn(task);
        let guard = call.cancel.clone().drop_guard();
        Self { call: call.clone(), limits, begun, desk, task, _guard: guard }
    }

    /// How long it has been going on.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// Waits until it has ended, or has been ended: by `observer`, or since one of its limits has passed. Blocks the
    /// calling thread, which must not be one of the runtime's. What it results in is for one who waits, and for
    /// others an error.
    pub(crate) fn wait(&self, observer: &mut dyn Observer) -> Result<T> {
        let reason = self.watch(observer, true, || false);
        let result = self.desk.state().result.take();
        self.conclude(observer, settle(reason, result))
    }

    fn conclude<R>(&self, observer: &mut dyn Observer, outcome: Result<R>) -> Result<R> {
        observer.tick();
        let outcome = outcome?;
        observer.progress(&self.call.counters.snapshot(), true);
        Ok(outcome)
    }

    /// Waits until the operation has ended, or `is_enough`. `None`: so it is; else why it was ended. `ends`: what
    /// `observer` cancels is the operation, and not just this wait.
    fn watch(
        &self,
        observer: &mut dyn Observer,
        ends: bool,
        mut is_enough: impl FnMut() -> bool,
    ) -> Option<Error> {
        let mut watchdog = Watchdog::new(&self.call, &self.limits.deadlines);
        let mut reason = None;
        // The calling thread decides by its own clock when it returns. The runtime's threads may all be
        // inside a call of the system's that doesn't come back.
        let mut leave_at: Option<Instant> = None;
        let mut waited = Duration::ZERO;
        loop {
            observer.tick();
            if is_enough() {
                return None;
            }
            if leave_at.is_none() {
                observer.progress(&self.call.counters.snapshot(), false);
                if observer.cancelled() {
                    reason = Some(Error::cancelled());
                    if !ends {
                        return reason;
                    }
                } else {
                    reason = self.overdue().or_else(|| watchdog.look(waited));
                }
                if reason.is_some() {
                    self.call.cancel.cancel();
                    leave_at = Some(Instant::now() + GRACE);
                }
            }
            let wait = match (leave_at, self.limits.timeout) {
                (Some(at), _) => at.saturating_duration_since(Instant::now()),
                (None, Some(limit)) => limit.saturating_sub(self.begun.elapsed()),
                (None, None) => TICK,
            };
            // Looked at before the desk: an operation that ended has left its result by then.
            let is_finished = self.task.is_finished();
            let begun = Instant::now();
            let (errand, seen) = self.desk.next(wait.min(TICK));
            // A machine that slept meanwhile doesn't count as a call that stood still.
            waited = begun.elapsed().min(TICK * 2);
            let is_over = leave_at.is_some_and(|at| Instant::now() >= at);
            if let Some(errand) = errand.or_else(|| self.call.shared_errands.next()) {
                errand.run(&self.call, observer);
                continue;
            }
            if seen.is_quiet || is_over || is_finished {
                return reason;
            }
            if seen.has_ended {
                leave_at.get_or_insert_with(|| Instant::now() + GRACE);
            }
        }
    }

    fn overdue(&self) -> Option<Error> {
        let (call, begun) = (&self.call, self.begun);
        let limit = self.limits.timeout.filter(|&limit| begun.elapsed() >= limit)?;
        let limited = call.counters.waits.limited_for().is_some();
        let waits = if limited {
            "a server that limits requests".to_owned()
        } else {
            call.counters.waits.describe()
        };
        let message = format!(
            "the call took longer than its timeout of {limit:?}; it was waiting for {waits}"
        );
        let error = Error::new(Kind::Timeout, message);
        Some(match call.counters.failure() {
            Some(last) => error.after(&last),
            None => error,
        })
    }
}

impl Running<()> {
    /// As [`wait`](Self::wait), for any number who wait.
    pub(crate) fn wait_too(&self, observer: &mut dyn Observer) -> Result<()> {
        let reason = self.watch(observer, true, || false);
        self.conclude(observer, settle(reason, self.result()))
    }

    /// Waits until `is_enough`, which is asked again and again, or until the operation has ended. What `observer`
    /// cancels is this wait.
    pub(crate) fn wait_until(
        &self,
        observer: &mut dyn Observer,
        is_enough: impl FnMut() -> bool,
    ) -> Result<()> {
        let reason = self.watch(observer, false, is_enough);
        self.conclude(observer, reason.map_or(Ok(()), Err))
    }

    /// What it has resulted in, if it has ended.
    pub(crate) fn result(&self) -> Option<Result<()>> {
        self.desk.state().result.clone()
    }

    /// Wakes those who [wait for something](Self::wait_until), as it may have come.
    pub(crate) fn wakes(&self) -> impl Fn() + Send + Sync + use<> {
        let desk = Arc::downgrade(&self.desk);
        move || {
            if let Some(desk) = desk.upgrade() {
                desk.changed.notify_all();
            }
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.is_closed = true;
        // Those who wait for replies learn that there are none.
        let errands = std::mem::take(&mut state.errands);
        drop(state);
        drop(errands);
    }
}

impl<T> Desk<T> {
    fn new() -> Self {
        let state =
            State { errands: VecDeque::new(), is_closed: false, result: None, is_quiet: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// The next errand, once there is one, or how things stand when something has changed, after `wait` at the
    /// latest.
    fn next(&self, wait: Duration) -> (Option<Errand>, Seen) {
        let mut state = self.state();
        if state.errands.is_empty() && !state.is_quiet {
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let seen = Seen { has_ended: state.result.is_some(), is_quiet: state.is_quiet };
        (state.errands.pop_front(), seen)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Each change leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> TakesErrands for Desk<T> {
    fn take(&self, errand: Errand) -> bool {
        let mut state = self.state();
        if state.is_closed {
            return false;
        }
        state.errands.push_back(errand);
        drop(state);
        self.changed.notify_all();
        true
    }
}

/// What a call ends with that was perhaps ended for a `reason` of its own, when its operation ended with `result`, if
/// it did. An operation that was done all the same, or that failed for a better reason, wins.
fn settle<T>(reason: Option<Error>, result: Option<Result<T>>) -> Result<T> {
    match (reason, result) {
        (Some(reason), None) => Err(reason),
        (Some(reason), Some(Err(error))) if error.kind() == Kind::Cancelled => Err(reason),
        (_, Some(result)) => result,
        (None, None) => Err(Error::internal("an operation panicked")),
    }
}

impl Errand {
    /// Whether nobody waits for its reply any more.
    fn is_given_up(&self) -> bool {
        match self {
            Self::Read { reply, .. } => reply.is_closed(),
            Self::Token { reply } => reply.is_closed(),
        }
    }

    fn run(self, call: &Call, observer: &mut dyn Observer) {
        let is_cancelled = call.is_cancelled();
        // Nobody waits for a reply if the operation has failed meanwhile.
        match self {
            Self::Read { stream, mut buffer, reply } => {
                let read = if is_cancelled {
                    Err(Error::cancelled())
                } else {
                    observer.read(stream, &mut buffer)
                };
                call.counters.beat();
                let _ = reply.send(read.map(|read| (read, buffer)));
            }
            Self::Token { reply } => {
                let token = if is_cancelled { Err(Error::cancelled()) } else { observer.token() };
                call.counters.beat();
                let _ = reply.send(token);
            }
        }
    }
}
