//! The runtime's threads: a machine that refuses them is an error, and not a hang.

use std::io::ErrorKind;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::scheduler::threads::{mark_worker, refused};
use crate::model::error::Result;
use crate::sys::fork;

/// Threads that wait for the network. They copy little and compute nothing, so a few serve many
/// connections.
const MAX_WORKERS: usize = 4;

/// Threads on which xet-core's crates compute, at most, and on which names are looked up.
const MAX_BLOCKING: usize = 32;

/// Where the system refuses further threads, tokio leaves a job to those that it has: one is there from
/// the beginning, and stays.
const KEEP: Duration = Duration::from_hours(24);

/// How long threads that exist may take to begin.
const BEGINNING: Duration = Duration::from_secs(10);

/// For how long before that a fork is held off: it waits for two seconds, and not only for this.
const HELD_OFF: Duration = Duration::from_secs(1);

/// Starts a runtime.
///
/// tokio panics over a worker that the system refuses, and then waits for ever for those that it got.
/// So they are tried out first; and as somebody else may take what was there then, the rest happens on a
/// thread that nobody has to wait for.
pub(crate) fn start() -> Result<Runtime> {
    let (send, receive) = mpsc::channel();
    // If nobody waits any more, the runtime is given up again.
    let start = move || drop(send.send(make()));
    // What tokio sets up once for the whole process is set up here.
    let begun = fork::hold_off(|| {
        let thread = thread::Builder::new().name("xet-start".into()).spawn(start);
        thread.map(|_| receive.recv_timeout(HELD_OFF)).map_err(|error| refused(&error))
    })?;
    let begun = begun.or_else(|_| receive.recv_timeout(BEGINNING));
    begun.unwrap_or_else(|_| Err(refused(&ErrorKind::WouldBlock.into())))
}

fn make() -> Result<Runtime> {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let workers = cores.min(MAX_WORKERS);
    try_out(workers + 1)?;
    let build = || {
        Builder::new_multi_thread()
            .worker_threads(workers)
            .max_blocking_threads(MAX_BLOCKING)
            .thread_keep_alive(KEEP)
            .thread_name("xet")
            .on_thread_start(mark_worker)
            .enable_all()
            .build()
    };
    let runtime = match catch_unwind(build) {
        Ok(made) => made.map_err(|error| refused(&error))?,
        Err(_) => return Err(refused(&ErrorKind::WouldBlock.into())),
    };
    let (tell, has_begun) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // If the system refuses it, this panics, and the channel closes.
        let _ = tokio::task::spawn_blocking(move || tell.send(())).await;
    });
    if has_begun.recv_timeout(BEGINNING).is_err() {
        runtime.shutdown_background();
        return Err(refused(&ErrorKind::WouldBlock.into()));
    }
    Ok(runtime)
}

/// Has so many threads at a time, for a moment.
fn try_out(threads: usize) -> Result<()> {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = |_| {
        let gate = Arc::clone(&gate);
        thread::Builder::new().spawn(move || drop(gate.lock()))
    };
    let alive: Result<Vec<_>, _> = (0..threads).map(begin).collect();
    drop(closed);
    for thread in alive.map_err(|error| refused(&error))? {
        // It does nothing that could panic.
        let _ = thread.join();
    }
    Ok(())
}
