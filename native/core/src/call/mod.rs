//! Runs one operation on the runtime's threads while the thread that asked for it watches: it
//! reports progress, asks for cancellation and keeps the time.

pub(crate) mod connections;
pub mod file_transfer;
pub(crate) mod per_process;
pub mod progress;
pub mod waits;
mod watchdog;

use std::future::Future;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Deadlines;
use crate::model::error::{Error, Kind, Result};
use progress::{Counters, Progress};
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
#[derive(Clone, Default)]
pub(crate) struct Call {
    pub(crate) counters: Arc<Counters>,
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
    Ended(Result<T>),
}

impl Call {
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
    /// none at the end of the stream.
    pub(crate) async fn read_stream(&self, stream: usize, length: usize) -> Result<Vec<u8>> {
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
        match self.spawn_blocking(what, job).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Error::internal("a blocking job panicked")),
            Err(_) => Err(Error::cancelled()),
        }
    }

    /// Begins `job` on a thread that may block; `blocking` with a handle to wait for later.
    pub(crate) fn spawn_blocking<T, F>(
        &self,
        what: impl Into<Arc<str>>,
        job: F,
    ) -> tokio::task::JoinHandle<Result<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let what = what.into();
        let counters = Arc::clone(&self.counters);
        let queued = counters.waits.begin(format!("a thread for {what}"), Duration::ZERO);
        self.blocking.spawn_blocking(move || {
            drop(queued);
            counters.beat();
            let _running = counters.waits.begin(what, Duration::ZERO);
            job()
        })
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
        let _ = tokio::time::timeout(GRACE, inner.blocking.wait()).await;
        // The receiver is gone only if the calling thread panicked in its observer.
        let _ = send.send(Message::Ended(result));
    };
    let task = runtime.spawn(task);
    // If the observer panics, the operation must not go on without a caller.
    let _guard = call.cancel.clone().drop_guard();

    let mut watchdog = Watchdog::new(&limits.deadlines);
    let mut verdict = None;
    let mut waited = Duration::ZERO;
    loop {
        observer.tick();
        if !call.is_cancelled() {
            observer.progress(&call.counters.snapshot(), false);
            if observer.cancelled() {
                call.cancel.cancel();
            } else {
                verdict = overdue(limits.timeout, started)
                    .or_else(|| watchdog.look(&call.counters, waited));
                if verdict.is_some() {
                    call.cancel.cancel();
                }
            }
        }
        let left = limits.timeout.map(|limit| limit.saturating_sub(started.elapsed()));
        let wait = left.filter(|_| !call.is_cancelled()).map_or(TICK, |left| left.min(TICK));
        // Looked at before the channel: an operation that ended has sent its result by then.
        let ended = task.is_finished();
        let begun = Instant::now();
        let received = receive.recv_timeout(wait);
        // A machine that slept meanwhile doesn't count as a call that stood still.
        waited = begun.elapsed().min(TICK * 2);
        match received {
            Ok(Message::Errand(errand)) => errand.run(call, observer),
            Ok(Message::Ended(result)) => {
                observer.tick();
                return match result {
                    Err(error) if error.kind() == Kind::Cancelled => Err(verdict.unwrap_or(error)),
                    Ok(value) => {
                        observer.progress(&call.counters.snapshot(), true);
                        Ok(value)
                    }
                    other => other,
                };
            }
            Err(RecvTimeoutError::Timeout) if !ended => {}
            Err(_) => return Err(Error::internal("an operation panicked")),
        }
    }
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

fn overdue(timeout: Option<Duration>, started: Instant) -> Option<Error> {
    let limit = timeout.filter(|&limit| started.elapsed() >= limit)?;
    let message = format!("the call took longer than its timeout of {limit:?}");
    Some(Error::new(Kind::Timeout, message))
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
