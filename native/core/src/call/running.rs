//! An operation on the runtime's threads, and those who wait for it: they report progress, ask for
//! cancellation, keep the time, and do what only the caller's threads may.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
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
#[derive(Clone, Default)]
pub(crate) struct SharedErrands(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    errands: VecDeque<Errand>,
    /// Of the calls.
    desks: Vec<Weak<dyn TakesErrands>>,
}

impl SharedErrands {
    pub(super) fn add(&self, errand: Errand) {
        let mut board = self.board();
        board.errands.push_back(errand);
        board.desks.retain(|desk| desk.strong_count() > 0);
        let desks: Vec<_> = board.desks.iter().filter_map(Weak::upgrade).collect();
        drop(board);
        for desk in desks {
            desk.wake();
        }
    }

    /// Those who wait at the desk do these errands, too.
    fn have(&self, desk: Weak<dyn TakesErrands>) {
        self.board().desks.push(desk);
    }

    /// The next one that somebody still waits for.
    fn next(&self) -> Option<Errand> {
        let errands = &mut self.board().errands;
        std::iter::from_fn(|| errands.pop_front()).find(|errand| !errand.is_given_up())
    }

    /// Whether there may be some.
    fn has_some(&self) -> bool {
        !self.board().errands.is_empty()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for SharedErrands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedErrands")
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
    /// After so long.
    duration: Option<Duration>,
    /// They have ended, too.
    is_quiet: bool,
}

/// To whom a call's parts hand errands. Knows nothing of what the operation results in.
pub(super) trait TakesErrands: Send + Sync {
    /// False: nobody takes it any more.
    fn take(&self, errand: Errand) -> bool;

    /// Has those who wait look around.
    fn wake(&self);
}

/// An operation that has been begun. It goes on whether anybody waits for it or not, until it ends, or this is
/// dropped.
pub(crate) struct Running<T> {
    call: Call,
    limits: CallLimits,
    begun: Instant,
    desk: Arc<Desk<T>>,
    /// Why it ends without success. The first reason counts for all.
    reason: Arc<OnceLock<Error>>,
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
    /// Begins `operation`, which ends at the latest when the timeout of `limits` has passed, whether somebody waits or
    /// not; and when it stands still for too long, as far as somebody waits.
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
        call.shared_errands.have(Weak::clone(&errands));
        let _ = call.errands.set(errands);
        let reason: Arc<OnceLock<Error>> = Arc::default();
        let (inner, ended, why) = (call.clone(), Arc::clone(&desk), Arc::clone(&reason));
        let waits_of = call.clone();
        let timer = async move {
            // Those who wait look at their own clocks; this is for when nobody does.
            let Some(timeout) = limits.timeout else { return std::future::pending().await };
            tokio::time::sleep(timeout).await;
            // Here, while the operation still waits for what it waits for.
            overdue(&waits_of, timeout)
        };
        let task = async move {
            let result = tokio::select! {
                biased;
                () = inner.cancel.cancelled() => Err(why.get().cloned().unwrap_or_else(Error::cancelled)),
                result = operation => result,
                error = timer => Err(error),
            };
            // Known before anything can be seen to be cancelled by it.
            if let Err(error) = &result {
                let _ = why.set(error.clone());
            }
            // Losing the race above dropped the operation, and with it all of its tasks; what is left
            // are blocking jobs.
            inner.cancel.cancel();
            inner.blocking.close();
            ended.change(|state| {
                state.result = Some(result);
                state.duration = Some(begun.elapsed());
            });
            inner.blocking.wait().await;
            ended.change(|state| state.is_quiet = true);
        };
        let task = runtime.spawn(task);
        let guard = call.cancel.clone().drop_guard();
        Self { call: call.clone(), limits, begun, desk, reason, task, _guard: guard }
    }

    /// How long it has been going on, or went on until its end.
    pub(crate) fn duration(&self) -> Duration {
        self.desk.state().duration.unwrap_or_else(|| self.begun.elapsed())
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
                if let Some(error) = &reason {
                    let _ = self.reason.set(error.clone());
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
            // Others' errands are for those who stay: that this call has ended is no answer to them.
            let shared = (!self.call.is_cancelled()).then_some(&self.call.shared_errands);
            let (errand, seen) = self.desk.next(wait.min(TICK), shared);
            // A machine that slept meanwhile doesn't count as a call that stood still.
            waited = begun.elapsed().min(TICK * 2);
            let is_over = leave_at.is_some_and(|at| Instant::now() >= at);
            if let Some(errand) = errand.or_else(|| shared?.next()) {
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
        let limit = self.limits.timeout.filter(|&limit| self.begun.elapsed() >= limit)?;
        Some(overdue(&self.call, limit))
    }
}

/// The error of a call that its timeout has ended.
fn overdue(call: &Call, limit: Duration) -> Error {
    let limited = call.counters.waits.limited_for().is_some();
    let waits = if limited {
        "a server that limits requests".to_owned()
    } else {
        call.counters.waits.describe()
    };
    let message =
        format!("the call took longer than its timeout of {limit:?}; it was waiting for {waits}");
    let error = Error::new(Kind::Timeout, message);
    match call.counters.failure() {
        Some(last) => error.after(&last),
        None => error,
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

    /// Why it ends, or has ended, if that isn't by success.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.reason.get().cloned()
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
        let state = State {
            errands: VecDeque::new(),
            is_closed: false,
            result: None,
            duration: None,
            is_quiet: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// The next errand, once there is one, or how things stand when something has changed, of which there being
    /// `shared` errands is one; after `wait` at the latest.
    fn next(&self, wait: Duration, shared: Option<&SharedErrands>) -> (Option<Errand>, Seen) {
        let mut state = self.state();
        // Under the lock without which nobody is woken, so that none is missed.
        let has_some = || shared.is_some_and(SharedErrands::has_some);
        if state.errands.is_empty() && !state.is_quiet && !has_some() {
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

    fn wake(&self) {
        // Whoever looked before this is waiting by now.
        drop(self.state());
        self.changed.notify_all();
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
        // Nobody waits for a reply if the operation has failed meanwhile.
        match self {
            Self::Read { stream, mut buffer, reply } => {
                let read = if call.is_cancelled() {
                    Err(Error::cancelled())
                } else {
                    observer.read(stream, &mut buffer)
                };
                call.counters.beat();
                let _ = reply.send(read.map(|read| (read, buffer)));
            }
            // Perhaps of another call, which hasn't ended when this one has.
            Self::Token { reply } => {
                let token = observer.token();
                call.counters.beat();
                let _ = reply.send(token);
            }
        }
    }
}
