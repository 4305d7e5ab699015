//! Runs one operation on the runtime's threads while the thread that asked for it watches: it
//! reports progress, asks for cancellation and keeps the time.

pub(crate) mod file_task;
pub mod file_transfer;
pub(crate) mod per_process;
pub mod progress;
pub(crate) mod runtime;
pub(crate) mod scheduler;
pub(crate) mod tasks;
pub mod waits;
pub mod walk;
mod watchdog;

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Deadlines;
use crate::model::error::{Error, Kind, Result};
use progress::{Counters, Progress, TimeLimit};
use scheduler::{Gate, OffWorker, Permit, Scheduler, Span};
use watchdog::Watchdog;

/// The caller's eyes and brake on a call. All methods run on the thread that made the call, at
/// least every 50 ms while it waits.
pub trait Observer {
    /// Called at every wake-up, before anything else.
    fn tick(&mut self) {}
    /// Called at every wake-up, and once at the end of a successful call. Throttling is the
    /// observer's business.
    fn progress(&mut self, _progress: &Progress, _last: bool) {}
    /// True ends the call with [`Kind::Cancelled`](crate::model::error::Kind::Cancelled).
    fn cancelled(&mut self) -> bool {
        false
    }
    /// Reads the caller's stream number `stream` into `buffer`: how many bytes, 0 at its end. Pending
    /// means that there are none yet; then the same is asked again soon. Only calls that were given
    /// streams ask for this.
    fn read(&mut self, stream: usize, _buffer: &mut [u8]) -> Result<Poll<usize>> {
        Err(Error::internal(format!("nobody reads stream {stream}")))
    }
}

/// Looks at nothing.
impl Observer for () {}

/// How often the caller's thread wakes up. The contract of `xet.h` says "at least every 50 ms".
const TICK: Duration = Duration::from_millis(40);

/// How long a cancelled call waits for its blocking jobs (one write, one hash of a piece) to
/// notice. A job that is inside a slow system call is left to finish alone; it holds what it needs.
/// With a tick before it, this keeps the promise that a cancelled call returns within 100 ms.
const GRACE: Duration = Duration::from_millis(40);
const _: () = assert!(TICK.as_millis() + GRACE.as_millis() <= 80, "20 ms are for the machine");

/// How long a stream that has no bytes yet is left alone; from the first to the longest it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// What the parts of one call share.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) counters: Arc<Counters>,
    pub(crate) scheduler: Arc<Scheduler>,
    cancel: CancellationToken,
    blocking: TaskTracker,
    /// How to reach the thread that made the call; set while it waits.
    errands: Arc<OnceLock<SendErrand>>,
}

/// Hands an errand over; false if nobody takes it any more.
type SendErrand = Box<dyn Fn(Errand) -> bool + Send + Sync>;

/// A piece of work that only the thread that made the call may do: to read from a stream of its
/// caller.
struct Errand {
    stream: usize,
    buffer: Vec<u8>,
    reply: oneshot::Sender<Result<(Poll<usize>, Vec<u8>)>>,
}

/// What wakes the thread that made the call.
enum Message<T> {
    Errand(Errand),
    /// The operation has ended; some of its blocking jobs may still be at work.
    Ended(Result<T>),
    /// They have ended, too.
    Quiet,
}

impl Default for Call {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Call {
    /// A call on the client that has this scheduler.
    pub(crate) fn new(scheduler: Arc<Scheduler>) -> Self {
        Self {
            counters: Arc::new(Counters::of_call(scheduler.identity())),
            scheduler,
            cancel: CancellationToken::new(),
            blocking: TaskTracker::new(),
            errands: Arc::default(),
        }
    }

    /// Waits for this call's turn at `gate`, which is one of its scheduler's. `what` says what it waits
    /// for meanwhile ("its turn to fetch a.bin").
    pub(crate) async fn turn(&self, gate: &Arc<Gate>, what: impl Into<Arc<str>>) -> Result<Permit> {
        gate.turn(&self.counters, 1, what).await
    }

    /// Has `value` given up where that may block, wherever its last owner lets go of it.
    pub(crate) fn off_worker<T: Send + 'static>(&self, value: T) -> OffWorker<T> {
        let (threads, call) = (self.scheduler.threads.clone(), self.counters.call().clone());
        OffWorker::new(value, threads, call, self.blocking.token())
    }

    /// Whether the call has ended from its caller's view; blocking jobs ask this between pieces of
    /// work.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The same question, for code that can wait for the answer.
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Reads from a stream of the caller's, on the thread that made the call: up to `length` bytes,
    /// none at the end of the stream. `what` names it, for who wonders what is waited for.
    pub(crate) async fn read_stream(
        &self,
        stream: usize,
        what: &str,
        length: usize,
    ) -> Result<Vec<u8>> {
        let _waiting = self.counters.waits.begin(what, Duration::ZERO);
        let mut buffer = vec![0; length];
        let mut pause = FIRST_PAUSE;
        loop {
            let (reply, answer) = oneshot::channel();
            let errand = Errand { stream, buffer, reply };
            if !self.errands.get().is_some_and(|send| send(errand)) {
                return Err(Error::cancelled());
            }
            // Without an answer, the thread has stopped waiting.
            let (read, back) = answer.await.unwrap_or_else(|_| Err(Error::cancelled()))?;
            buffer = back;
            if let Poll::Ready(length) = read {
                buffer.truncate(length);
                return Ok(buffer);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The job that this is called from gets on: something has been done that no other counter
    /// shows. Cheap enough for each file that is looked at.
    pub(crate) fn beat(&self) {
        self.counters.beat();
    }

    /// Runs `job` on a thread that may block. `what` says what the call waits for meanwhile ("the
    /// disk to hash a.bin"); the wait lasts for as long as the job [beats](Self::beat), or counts
    /// bytes. If the call ends before, the job's result is dropped.
    pub(crate) async fn blocking<T, F>(&self, what: impl Into<Arc<str>>, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        self.begin_job(Span::Short, what.into(), job)?.await.unwrap_or_else(|_| {
            Err(if self.is_cancelled() {
                Error::cancelled()
            } else {
                Error::internal("a blocking job panicked")
            })
        })
    }

    /// Begins `job` on a thread that may block; `blocking` with a handle to wait for later, and for
    /// jobs that last as long as something else goes on. The handle gives an error if the job panicked,
    /// or never began since the call had ended.
    pub(crate) fn spawn_blocking<T, F>(&self, what: impl Into<Arc<str>>, job: F) -> Begun<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        self.begin_job(Span::Long, what.into(), job).unwrap_or_else(|error| {
            let (send, begun) = oneshot::channel();
            // The other end is in our hands.
            let _ = send.send(self.off_worker(Err(error)));
            Begun(begun)
        })
    }

    fn begin_job<T, F>(&self, span: Span, what: Arc<str>, job: F) -> Result<Begun<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (counters, cancel) = (Arc::clone(&self.counters), self.cancel.clone());
        let (threads, call) = (&self.scheduler.threads, counters.call().clone());
        let queued = counters.waits.begin_in_line(format!("a thread for {what}"), threads.line());
        // The call isn't over before its job is, nor before what that gives has been given up.
        let end = self.off_worker(());
        let (send, begun) = oneshot::channel();
        let run = move || {
            drop(queued);
            if !cancel.is_cancelled() {
                counters.beat();
                let running = counters.waits.begin(what, Duration::ZERO);
                let result = job();
                drop(running);
                counters.beat();
                // If nobody waits for it, it is dropped where that may block: here, or if it is on its
                // way already, by whoever stops waiting.
                let _ = send.send(end.with(result));
            }
        };
        threads.submit(&call, span, Box::new(run))?;
        Ok(Begun(begun))
    }
}

/// A job that has been begun. Gives an error if it panicked, or never began since the call had ended;
/// else what the job gives.
pub(crate) struct Begun<T: Send + 'static>(oneshot::Receiver<OffWorker<Result<T>>>);

impl<T: Send + 'static> Future for Begun<T> {
    type Output = std::result::Result<Result<T>, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_ok(OffWorker::into_inner)
    }
}

/// When a call ends whatever it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallLimits {
    /// The longest time for the whole call.
    pub(crate) timeout: Option<Duration>,
    /// The limits of its requests; the watchdog's patience follows from them.
    pub(crate) deadlines: Deadlines,
}

/// Runs `operation` to its end, or until `observer` cancels it or one of `limits` has passed. Blocks
/// the calling thread, which must not be one of the runtime's.
pub(crate) fn run<T, F>(
    runtime: &Handle,
    call: &Call,
    limits: CallLimits,
    observer: &mut dyn Observer,
    operation: F,
) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let started = Instant::now();
    if let Some(timeout) = limits.timeout
        && let Some(at) = started.checked_add(timeout)
    {
        call.counters.set_limit(TimeLimit { timeout, at });
    }
    let (send, receive) = mpsc::channel();
    let errands = send.clone();
    let _ = call.errands.set(Box::new(move |e| errands.send(Message::Errand(e)).is_ok()));
    let inner = call.clone();
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
        // The receiver is gone if the calling thread has stopped waiting.
        let _ = send.send(Message::Ended(result));
        inner.blocking.wait().await;
        let _ = send.send(Message::Quiet);
    };
    let task = runtime.spawn(task);
    // If the observer panics, the operation must not go on without a caller.
    let _guard = call.cancel.clone().drop_guard();

    let mut watchdog = Watchdog::new(call, &limits.deadlines);
    let mut outcome = None;
    // The calling thread decides by its own clock when it returns. The runtime's threads may all be
    // inside a call of the system's that doesn't come back.
    let mut leave_at: Option<Instant> = None;
    let mut waited = Duration::ZERO;
    loop {
        observer.tick();
        if leave_at.is_none() {
            observer.progress(&call.counters.snapshot(), false);
            let verdict = if observer.cancelled() {
                Some(Error::cancelled())
            } else {
                overdue(call, limits.timeout, started).or_else(|| watchdog.look(waited))
            };
            if let Some(verdict) = verdict {
                outcome = Some(Err(verdict));
                call.cancel.cancel();
                leave_at = Some(Instant::now() + GRACE);
            }
        }
        let wait = match (leave_at, limits.timeout) {
            (Some(at), _) => at.saturating_duration_since(Instant::now()),
            (None, Some(limit)) => limit.saturating_sub(started.elapsed()),
            (None, None) => TICK,
        };
        // Looked at before the channel: an operation that ended has sent its result by then.
        let ended = task.is_finished();
        let begun = Instant::now();
        let received = receive.recv_timeout(wait.min(TICK));
        // A machine that slept meanwhile doesn't count as a call that stood still.
        waited = begun.elapsed().min(TICK * 2);
        let is_over = leave_at.is_some_and(|at| Instant::now() >= at);
        match received {
            Ok(Message::Errand(errand)) => errand.run(call, observer),
            Ok(Message::Ended(result)) => {
                outcome = Some(settle(outcome, result));
                leave_at.get_or_insert_with(|| Instant::now() + GRACE);
            }
            Ok(Message::Quiet) => return end(outcome, call, observer),
            Err(_) if is_over => return end(outcome, call, observer),
            Err(RecvTimeoutError::Timeout) if !ended => {}
            Err(_) if outcome.is_some() => return end(outcome, call, observer),
            Err(_) => return Err(Error::internal("an operation panicked")),
        }
    }
}

/// What a call ends with whose operation ended with `result`, when it had possibly been ended before
/// for a reason of its own. An operation that was done all the same, or that failed for a better
/// reason, wins.
fn settle<T>(reason: Option<Result<T>>, result: Result<T>) -> Result<T> {
    match (reason, result) {
        (Some(reason), Err(error)) if error.kind() == Kind::Cancelled => reason,
        (_, result) => result,
    }
}

fn end<T>(outcome: Option<Result<T>>, call: &Call, observer: &mut dyn Observer) -> Result<T> {
    observer.tick();
    let outcome =
        outcome.unwrap_or_else(|| Err(Error::internal("a call ended without a result")))?;
    observer.progress(&call.counters.snapshot(), true);
    Ok(outcome)
}

impl Errand {
    fn run(mut self, call: &Call, observer: &mut dyn Observer) {
        let read = if call.is_cancelled() {
            Err(Error::cancelled())
        } else {
            observer.read(self.stream, &mut self.buffer)
        };
        call.counters.beat();
        // Nobody waits for the bytes if the operation has failed meanwhile.
        let _ = self.reply.send(read.map(|read| (read, self.buffer)));
    }
}

fn overdue(call: &Call, timeout: Option<Duration>, started: Instant) -> Option<Error> {
    let limit = timeout.filter(|&limit| started.elapsed() >= limit)?;
    let limited = call.counters.waits.limited_for().is_some();
    let waits = if limited {
        "a server that limits requests".to_owned()
    } else {
        call.counters.waits.describe()
    };
    let message =
        format!("the call took longer than its timeout of {limit:?}; it was waiting for {waits}");
    let error = Error::new(Kind::Timeout, message);
    Some(match call.counters.failure() {
        Some(last) => error.after(&last),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct CancelAtOnce;

    impl Observer for CancelAtOnce {
        fn cancelled(&mut self) -> bool {
            true
        }
    }

    fn limits(timeout: Option<Duration>) -> CallLimits {
        CallLimits { timeout, deadlines: Deadlines::DEFAULT }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// A cancelled call returns although its operation would wait for ever.
    #[test]
    fn cancellation_does_not_wait_for_the_operation() {
        let runtime = runtime();
        let result: Result<()> = run(
            runtime.handle(),
            &Call::default(),
            limits(None),
            &mut CancelAtOnce,
            std::future::pending(),
        );
        assert_eq!(result.unwrap_err().kind(), Kind::Cancelled);
    }

    /// A cancelled call returns although a blocking job of its doesn't: a disk may take its time.
    #[test]
    fn cancellation_does_not_wait_for_a_slow_job() {
        struct OnceItRuns(mpsc::Receiver<()>);

        impl Observer for OnceItRuns {
            fn cancelled(&mut self) -> bool {
                self.0.try_recv().is_ok()
            }
        }

        let runtime = runtime();
        let (call, (begun, running)) = (Call::default(), mpsc::channel());
        let (release, released) = mpsc::channel::<()>();
        let inner = call.clone();
        let operation = async move {
            inner
                .blocking("the disk", move || {
                    let _ = begun.send(());
                    let _ = released.recv_timeout(Duration::from_secs(10));
                    Ok(())
                })
                .await
        };
        let mut observer = OnceItRuns(running);
        let result = run(runtime.handle(), &call, limits(None), &mut observer, operation);
        assert_eq!(result.unwrap_err().kind(), Kind::Cancelled);
        assert!(release.send(()).is_ok(), "the job is still at work, and only now may end");
    }

    /// A result that is on its way when its waiter goes is given up by a thread that may block.
    #[test]
    fn a_result_that_nobody_takes_is_given_up_elsewhere() {
        struct Told(mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().id());
            }
        }
        let (call, (tell, told)) = (Call::default(), mpsc::channel());
        let begun = call.spawn_blocking("the disk", move || Ok(Told(tell)));
        while begun.0.is_empty() {
            std::thread::yield_now();
        }
        let worker = std::thread::spawn(move || {
            scheduler::threads::mark_worker();
            drop(begun);
            std::thread::current().id()
        });
        assert_ne!(told.recv().unwrap(), worker.join().unwrap());
    }

    /// A call that passes its own limit says so, not that it was cancelled.
    #[test]
    fn a_timeout_is_not_a_cancellation() {
        let runtime = runtime();
        let limits = limits(Some(Duration::from_millis(10)));
        let result: Result<()> =
            run(runtime.handle(), &Call::default(), limits, &mut (), std::future::pending());
        assert_eq!(result.unwrap_err().kind(), Kind::Timeout);
    }

    /// A panic inside the operation is an error of the call.
    #[test]
    fn a_panic_becomes_an_error() {
        let runtime = runtime();
        let result: Result<()> =
            run(runtime.handle(), &Call::default(), limits(None), &mut (), async { panic!("x") });
        assert_eq!(result.unwrap_err().kind(), Kind::Internal);
    }
}
