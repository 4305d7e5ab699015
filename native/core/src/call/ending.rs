//! What is given up where a disk may hold on to it: on a thread of its own, for whose end nobody has to wait.

use std::ops::Deref;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long whoever drops something waits for what may block.
pub(crate) const ENDING: Duration = Duration::from_millis(100);

/// Runs `give_up` elsewhere, and waits for it, but no longer than [`ENDING`]. Where the system refuses a thread, what it
/// holds is dropped here, which is better than never.
pub(crate) fn aside(give_up: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel::<()>();
    let give_up = move || {
        give_up();
        drop(done);
    };
    match thread::Builder::new().name("xet-ending".into()).spawn(give_up) {
        Ok(thread) => {
            // It says so by hanging up.
            if is_done.recv_timeout(ENDING) == Err(RecvTimeoutError::Disconnected) {
                let _ = thread.join();
            }
        }
        Err(error) => tracing::debug!(%error, "something was closed on the thread that dropped it"),
    }
}

/// A value that is given up [aside](aside): dropping it closes a file.
#[derive(Debug)]
pub(crate) struct Aside<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Aside<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    #[allow(clippy::expect_used, reason = "it is there until the drop")]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("not dropped yet")
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            aside(move || drop(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever it takes, nobody waits for it for long; and it's gone when it's done at once.
    #[test]
    fn nobody_waits_for_what_hangs() {
        struct Hangs(mpsc::Receiver<()>, mpsc::Sender<()>);
        impl Drop for Hangs {
            fn drop(&mut self) {
                let _ = self.0.recv();
                let _ = self.1.send(());
            }
        }
        let (thaw, frozen) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        drop(Aside::new(Hangs(frozen, tell.clone())));
        assert!(told.try_recv().is_err(), "it still hangs");
        drop(thaw);
        told.recv().unwrap();
        let (thawed, frozen) = mpsc::channel::<()>();
        drop(thawed);
        drop(Aside::new(Hangs(frozen, tell)));
        told.recv().unwrap();
    }
}
