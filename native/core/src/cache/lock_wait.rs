//! Waiting for a file's lock that somebody else has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::model::error::Result;
use crate::model::told;
use crate::sys::lock::{FileLock, holder, pauses};

/// In which the looks at the other one's work have their place.
const ROOM: Duration = Duration::from_secs(5);

/// The wait for one lock, for as long as whoever has it gets on. If nothing of its work changes for
/// `patience`, the holder hangs (a stopped process, a dead disk), and who waits goes on without the lock:
/// better twice the work than none for ever.
pub(crate) struct LockWait {
    call: Call,
    /// "another download of a.bin".
    what: Arc<str>,
    patience: Duration,
    /// `None` only while a job has it.
    watch: Option<Watch>,
    /// Whether whoever had the lock hung.
    hangs: bool,
    /// How often it was free at a look, and taken again at the attempt.
    collisions: u32,
    /// How long the last look took, which has the lock for a part of that.
    took: Duration,
}

impl LockWait {
    /// A wait that hasn't begun. `signs` says what there is to see of the holder's work, and is asked
    /// again and again, where it may block.
    pub(crate) fn new<S: PartialEq + Send + 'static>(
        call: &Call,
        what: impl Into<Arc<str>>,
        patience: Duration,
        signs: impl Fn() -> S + Send + 'static,
    ) -> Self {
        let watch = Some(Watch::new(patience, signs));
        let (call, what) = (call.clone(), what.into());
        Self { call, what, patience, watch, hangs: false, collisions: 0, took: Duration::ZERO }
    }

    /// How to take the lock, where that may block: `None` if somebody else has it. Not
    /// [exclusive](FileLock::is_exclusive) if that one hangs.
    pub(crate) fn attempt(&self) -> impl FnOnce(&Path) -> Result<Option<FileLock>> + Send + use<> {
        let hangs = self.hangs;
        move |path| {
            let taken = FileLock::try_acquire(path)?;
            Ok(taken.or_else(|| hangs.then(|| FileLock::without(path))))
        }
    }

    /// Waits until another [attempt](Self::attempt) may succeed. Nothing is held then: what the caller
    /// needs besides the lock may take as long to come.
    pub(crate) async fn until_free(&mut self, path: PathBuf) -> Result<()> {
        let waits = &self.call.counters.waits;
        let what = format!("{} (its lock: {})", self.what, path.display());
        let waiting = waits.begin(what, self.patience + ROOM);
        let what: Arc<str> = format!("a look at the lock {}", path.display()).into();
        // Whoever has it now may be another one.
        self.hangs = false;
        if let Some(watch) = &mut self.watch {
            watch.restart();
        }
        tokio::time::sleep(self.backoff()).await;
        for pause in pauses() {
            let Some(mut watch) = self.watch.take() else { break };
            let path = path.clone();
            let look = move || watch.look(&path).map(|seen| (watch, seen));
            let begun = Instant::now();
            let (watch, seen) = self.call.blocking(Arc::clone(&what), look).await?;
            self.took = begun.elapsed();
            self.watch = Some(watch);
            match seen {
                Seen::Free => {
                    self.collisions += 1;
                    break;
                }
                Seen::Hangs => {
                    self.hangs = true;
                    break;
                }
                Seen::Lives => waiting.allow(self.patience + ROOM),
                Seen::Taken => {}
            }
            tokio::time::sleep(pause + self.took.mul_f64(fastrand::f64())).await;
        }
        Ok(())
    }

    /// A look has the lock itself for a moment. Where that is long, as each call goes to a server, those who wait
    /// would keep it from each other for ever if all did the same at the same time.
    fn backoff(&self) -> Duration {
        const MOST_DOUBLINGS: u32 = 6;
        if self.collisions == 0 {
            return Duration::ZERO;
        }
        let most = self.took * (1 << self.collisions.min(MOST_DOUBLINGS));
        most.min(ROOM / 2).mul_f64(fastrand::f64())
    }
}

/// What there is to see of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Free,
    Taken,
    /// Taken, and whoever has it has got on.
    Lives,
    /// Taken, and whoever has it has not got on for too long.
    Hangs,
}

/// Looks at somebody else's work, now and then. Blocking.
struct Watch {
    patience: Duration,
    /// Whether the signs have changed since the last time.
    has_moved: Box<dyn FnMut() -> bool + Send>,
    /// When the signs were looked at, and when they had changed.
    looked: Option<Instant>,
    moved: Option<Instant>,
    begun: Instant,
    /// When it's to be told.
    tell: Instant,
}

impl Watch {
    const EVERY: Duration = Duration::from_millis(500);

    /// How long a wait takes that somebody wants to hear of.
    const UNTOLD: Duration = Duration::from_secs(1);

    /// How often it is told.
    const TELL_EVERY: Duration = Duration::from_secs(5);

    fn new<S: PartialEq + Send + 'static>(
        patience: Duration,
        signs: impl Fn() -> S + Send + 'static,
    ) -> Self {
        let mut seen = None;
        let has_moved = move || {
            let now = Some(signs());
            let has_moved = seen != now;
            seen = now;
            has_moved
        };
        let begun = Instant::now();
        let has_moved = Box::new(has_moved);
        Self { patience, has_moved, looked: None, moved: None, begun, tell: begun + Self::UNTOLD }
    }

    /// Begins another wait: whoever has the lock now has all of the patience.
    fn restart(&mut self) {
        (self.looked, self.moved) = (None, None);
        self.begun = Instant::now();
        self.tell = self.begun + Self::UNTOLD;
    }

    fn look(&mut self, path: &Path) -> Result<Seen> {
        if FileLock::try_acquire(path)?.is_some() {
            return Ok(Seen::Free);
        }
        let now = Instant::now();
        if now >= self.tell {
            self.tell = now + Self::TELL_EVERY;
            tracing::info!(
                target: told::WAITING,
                lock = %path.display(),
                seconds = self.begun.elapsed().as_secs(),
                process = holder(path),
                "waiting for another download to finish",
            );
        }
        if self.looked.is_some_and(|at| at.elapsed() < Self::EVERY.min(self.patience)) {
            return Ok(Seen::Taken);
        }
        let (has_moved, now) = ((self.has_moved)(), Instant::now());
        self.looked = Some(now);
        if has_moved {
            self.moved = Some(now);
            return Ok(Seen::Lives);
        }
        if now.duration_since(*self.moved.get_or_insert(now)) < self.patience {
            return Ok(Seen::Taken);
        }
        tracing::warn!(
            lock = %path.display(), patience = ?self.patience, process = holder(path),
            "whoever holds the lock does nothing; going on without it"
        );
        Ok(Seen::Hangs)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Waits for the lock as `Transfer` does, and has it then.
    async fn acquire(path: PathBuf, mut wait: LockWait) -> FileLock {
        loop {
            if let Some(lock) = wait.attempt()(&path).unwrap() {
                return lock;
            }
            wait.until_free(path.clone()).await.unwrap();
        }
    }

    /// A wait for a holder who never stops to get on.
    fn endless() -> LockWait {
        let sign = AtomicU32::new(0);
        let signs = move || sign.fetch_add(1, Ordering::Relaxed);
        LockWait::new(&Call::default(), "a lock", Duration::from_millis(1), signs)
    }

    /// A holder of which nothing is heard keeps nobody out: who waits goes on without the lock.
    #[tokio::test]
    async fn a_holder_that_hangs_is_passed_by() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        let wait = LockWait::new(&Call::default(), "a lock", Duration::from_millis(30), || ());
        let passed = acquire(path.clone(), wait).await;
        assert!(!passed.is_exclusive());
        drop(passed);
        assert!(FileLock::try_acquire(&path).unwrap().is_none(), "it isn't the passer's to free");
        drop(held);
    }

    /// Who takes the lock between two looks isn't taken for the one who had it before, and hung.
    #[test]
    fn another_holder_has_all_of_the_patience() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let mut watch = Watch::new(Duration::from_secs(30), || ());
        let held = FileLock::try_acquire(&path).unwrap().unwrap();
        assert_eq!(watch.look(&path).unwrap(), Seen::Lives);
        let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        (watch.looked, watch.moved) = (Some(long_ago), Some(long_ago));
        drop(held);
        assert_eq!(watch.look(&path).unwrap(), Seen::Free);
        let _held = FileLock::try_acquire(&path).unwrap().unwrap();
        watch.restart();
        assert_eq!(watch.look(&path).unwrap(), Seen::Taken);
        (watch.looked, watch.moved) = (Some(long_ago), Some(long_ago));
        assert_eq!(watch.look(&path).unwrap(), Seen::Hangs);
    }

    /// A second holder waits until the first lets go, in the same process too.
    #[tokio::test]
    async fn a_second_holder_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/x.lock");
        let first = acquire(path.clone(), endless()).await;
        assert!(first.is_exclusive());
        let waiter = tokio::spawn(acquire(path.clone(), endless()));
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(first);
        let second = waiter.await.unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(second);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }

    /// Who stops waiting doesn't get the lock later.
    #[tokio::test]
    async fn a_dropped_wait_takes_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let first = acquire(path.clone(), endless()).await;
        let mut wait = Box::pin(acquire(path.clone(), endless()));
        assert!(futures_util::poll!(&mut wait).is_pending());
        drop(wait);
        drop(first);
        // The look that was under way may still hold it for an instant; then it's free for good.
        let free = acquire(path, endless());
        tokio::time::timeout(Duration::from_secs(30), free).await.unwrap();
    }
}
