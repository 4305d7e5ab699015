//! Runs one operation on the runtime's threads while the thread that asked for it watches: it
//! reports progress, asks for cancellation and keeps the time.

pub(crate) mod ending;
pub(crate) mod file_task;
pub mod file_transfer;
pub(crate) mod per_process;
pub mod progress;
mod running;
pub(crate) mod runtime;
pub(crate) mod scheduler;
pub(crate) mod seldom;
pub(crate) mod tasks;
pub mod waits;
pub mod walk;
mod watchdog;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Deadlines;
use crate::model::error::{Error, Kind, Result};
pub use per_process::Owned;
use progress::{Counters, Progress};
pub(crate) use running::Running;
pub(crate) use running::SharedErrands;
use running::{Errand, TakesErrands};
use scheduler::{Gate, OffWorker, Permit, Scheduler, Span};

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
    /// A token of the caller's for Xet storage. Pending means that there is none yet; then the same is asked
    /// again soon. Only work that was told to ask for tokens does.
    fn token(&mut self) -> Result<Poll<CallerToken>> {
        Err(Error::internal("nobody gives tokens"))
    }
}

/// A token that the caller gives.
#[derive(Clone)]
pub struct CallerToken {
    /// The bearer token.
    pub token: String,
    /// Its end in seconds since 1970, by this machine's clock; 0: it has none.
    pub expires: u64,
}

impl CallerToken {
    /// The error of what needs a token that the caller doesn't give, for a `reason`.
    #[must_use]
    pub fn missing(reason: impl fmt::Display) -> Error {
        let message = format!("the token callback gave no token for Xet storage: {reason}");
        Error::new(Kind::TokenCallback, message)
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Looks at nothing.
impl Observer for () {}

/// How long a stream that has no bytes yet is left alone; from the first to the longest it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// The pauses of one who asks again and again.
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    async fn next(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

/// What the parts of one call share.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) counters: Arc<Counters>,
    pub(crate) scheduler: Arc<Scheduler>,
    cancel: CancellationToken,
    blocking: TaskTracker,
    /// How to reach the threads that wait for the call.
    errands: Arc<OnceLock<Weak<dyn TakesErrands>>>,
    /// What those may do, too, who wait for other calls, and they for this one.
    shared_errands: SharedErrands,
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
            shared_errands: SharedErrands::default(),
        }
    }

    /// The same call, whose tokens the callers of all calls with these errands may get.
    pub(crate) fn sharing(self, errands: &SharedErrands) -> Self {
        Self { shared_errands: errands.clone(), ..self }
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

    /// Ends the call from its caller's view.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
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
        let mut pauses = Pauses::default();
        loop {
            let (reply, answer) = oneshot::channel();
            let desk = self.errands.get().and_then(Weak::upgrade);
            if !desk.is_some_and(|desk| desk.take(Errand::Read { stream, buffer, reply })) {
                return Err(Error::cancelled());
            }
            // Without an answer, nobody will wait any more.
            let (read, back) = answer.await.unwrap_or_else(|_| Err(Error::cancelled()))?;
            buffer = back;
            if let Poll::Ready(length) = read {
                buffer.truncate(length);
                return Ok(buffer);
            }
            pauses.next().await;
        }
    }

    /// Asks the caller for a token, on a thread of its that waits for the call. While none does, this waits for one.
    pub(crate) async fn caller_token(&self) -> Result<CallerToken> {
        let what = "a token from the caller, on a thread that waits for this work";
        let _waiting = self.counters.waits.begin(what, Duration::ZERO);
        let mut pauses = Pauses::default();
        loop {
            let (reply, answer) = oneshot::channel();
            self.shared_errands.add(Errand::Token { reply });
            // No answer at all: who took the question has left. The next one gets it.
            if let Ok(asked) = answer.await
                && let Poll::Ready(token) = asked?
            {
                return Ok(token);
            }
            pauses.next().await;
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
    // If the observer panics, the operation must not go on without a caller: it's dropped with this.
    Running::begin(runtime, call, limits, operation).wait(observer)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

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
