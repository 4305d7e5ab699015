//! What must not be given up by a thread of the runtime's.

use std::fmt;
use std::ops::{Deref, DerefMut};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::CallId;
use super::threads::{Owner, Span, Threads, owner};
use crate::call::ending;

/// A value that is given up where that may block: files close, locks unlock, and on some disks that
/// takes as long as it likes. Dropped on a thread of the runtime, it is given up on another; on one of a caller's, too,
/// who waits for that a little.
pub(crate) struct OffWorker<T: Send + 'static> {
    /// `None` only while this is being dropped.
    value: Option<T>,
    threads: Threads,
    call: CallId,
    /// What it is part of waits for it.
    token: Option<TaskTrackerToken>,
}

impl<T: Send + 'static> OffWorker<T> {
    pub(in crate::call) fn new(
        value: T,
        threads: Threads,
        call: CallId,
        token: TaskTrackerToken,
    ) -> Self {
        Self { value: Some(value), threads, call, token: Some(token) }
    }

    /// The same for another value.
    pub(in crate::call) fn with<U: Send + 'static>(mut self, value: U) -> OffWorker<U> {
        let token = self.token.take();
        OffWorker {
            value: Some(value),
            threads: self.threads.clone(),
            call: self.call.clone(),
            token,
        }
    }

    /// The value, which from now on is the caller's to give up.
    #[allow(clippy::expect_used, reason = "it is there until the drop, which takes self")]
    pub(crate) fn into_inner(mut self) -> T {
        self.value.take().expect("not dropped yet")
    }
}

impl<T: Send + 'static> Deref for OffWorker<T> {
    type Target = T;

    #[allow(clippy::expect_used, reason = "it is there until the drop")]
    fn deref(&self) -> &T {
        self.value.as_ref().expect("not dropped yet")
    }
}

impl<T: Send + 'static> DerefMut for OffWorker<T> {
    #[allow(clippy::expect_used, reason = "it is there until the drop")]
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("not dropped yet")
    }
}

impl<T: fmt::Debug + Send + 'static> fmt::Debug for OffWorker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: Send + 'static> Drop for OffWorker<T> {
    fn drop(&mut self) {
        let Some(value) = self.value.take() else { return };
        let token = self.token.take();
        let give_up = move || {
            drop(value);
            drop(token);
        };
        match owner() {
            Owner::Disk => give_up(),
            Owner::Caller => ending::aside(give_up),
            Owner::Runtime => {
                // Without a thread, the value has been dropped here, which is better than never.
                if let Err(error) = self.threads.submit(&self.call, Span::Short, Box::new(give_up))
                {
                    tracing::debug!(%error, "a file was closed on a thread of the network's");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::super::threads::mark_worker;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// What a worker of the runtime, or a caller, drops is given up by another thread.
    #[test]
    fn nobody_gives_up_himself_who_must_not_block() {
        struct Told(mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().id());
            }
        }
        let (threads, tracker) = (Threads::default(), TaskTracker::new());
        let (tell, told) = mpsc::channel();
        let value =
            |tell| OffWorker::new(Told(tell), threads.clone(), CallId::new(1), tracker.token());
        drop(value(tell.clone()));
        let me = std::thread::current().id();
        assert_ne!(told.recv_timeout(LIMIT).unwrap(), me);
        let given = value(tell.clone());
        let (done, is_done) = mpsc::channel();
        let drop_it = move || {
            drop(given);
            done.send(std::thread::current().id()).unwrap();
        };
        threads.submit(&CallId::new(1), Span::Short, Box::new(drop_it)).unwrap();
        let disk = is_done.recv_timeout(LIMIT).unwrap();
        assert_eq!(told.recv_timeout(LIMIT).unwrap(), disk, "this one may block");
        let given = value(tell);
        let worker = std::thread::spawn(move || {
            mark_worker();
            drop(given);
            std::thread::current().id()
        });
        let worker = worker.join().unwrap();
        let by = told.recv_timeout(LIMIT).unwrap();
        assert!(by != worker && by != me);
    }
}
