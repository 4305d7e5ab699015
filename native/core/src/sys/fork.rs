//! What a `fork` must not cut in half.
//!
//! A forked child has the memory of its parent, and of the parent's threads only the one that
//! forked. Whatever another thread was changing at that moment stays half-changed in the child, and
//! its locks stay locked there for ever. So work on state of the whole process that a child can't do
//! without is done under [`hold_off`]: a fork waits for it. And what may be kept between two such
//! pieces of work, but not be handed on to a child, is [given up](before_next) just before a fork. Of
//! [files](unshared) that only the parent may have, the child lets go.
//!
//! Work under [`hold_off`] is short and calls no code of the caller's, which may wait for the thread
//! that forks. It may log: what the log locks around a fork ([`innermost`]) is locked when nobody is
//! inside any more.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::unshared;

/// Pause between two looks. Nobody signals: a condition variable doesn't survive a fork.
const PAUSE: Duration = Duration::from_micros(200);
/// How often a fork looks, at most: two seconds and more on a busy machine, where all takes longer.
/// The work takes milliseconds, unless a disk hangs.
const LOOKS: u32 = 10_000;

/// How many threads are inside [`hold_off`].
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Whether a thread is forking: nobody else goes inside.
static FORKING: AtomicBool = AtomicBool::new(false);
/// Whether the system runs the functions below at each fork.
static REGISTERED: AtomicBool = AtomicBool::new(false);
/// How often this process has forked, and those before it that it comes from.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Whether this process, or one that it comes from, is the child of a fork that didn't wait.
static TORN: AtomicBool = AtomicBool::new(false);
/// What somebody else does around each fork.
static INNERMOST: OnceLock<Hooks> = OnceLock::new();
/// What is to be given up before the next fork. Locked inside only, and by the thread that forks.
static KEPT: Mutex<Vec<Weak<dyn GiveUp>>> = Mutex::new(Vec::new());

thread_local! {
    /// How often this thread is inside.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static TURN: Cell<Turn> = const { Cell::new(Turn::None) };
}

/// What a thread that forks has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It isn't forking.
    None,
    /// Nobody is inside.
    Alone,
    /// It kept others out, but one that was inside didn't come out.
    Crowded,
    /// Another thread didn't finish forking.
    Refused,
}

/// What is done around a fork, on the thread that forks. Must not unwind.
pub struct Hooks {
    /// Just before it.
    pub before: fn(),
    /// Just after it, in the process that was there before.
    pub in_parent: fn(),
    /// Just after it, in the new one.
    pub in_child: fn(),
}

/// Something that no child may inherit.
pub(crate) trait GiveUp: Send + Sync {
    /// Called on a thread that is about to fork, while nobody is inside [`hold_off`].
    fn give_up(&self);
}

/// Does `work` at a time when no thread of this process forks.
pub(crate) fn hold_off<T>(work: impl FnOnce() -> T) -> T {
    let _inside = Inside::enter();
    work()
}

/// Has `what` given up before the next fork, once. To be called inside [`hold_off`].
pub(crate) fn before_next(what: Weak<dyn GiveUp>) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|other| other.strong_count() > 0);
    kept.push(what);
}

/// How often this process has forked by now. What two looks agree on, the second of them inside
/// [`hold_off`], no child has seen half of.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::SeqCst)
}

/// Whether this process was forked in the middle of somebody's work, because that didn't end:
/// nothing that is worked on under [`hold_off`] may be trusted to be whole.
pub(crate) fn is_torn() -> bool {
    TORN.load(Ordering::Relaxed)
}

struct Inside;

impl Inside {
    fn enter() -> Self {
        // Only the memory for the entry can be missing; the next one tries again.
        let _ = register();
        let depth = DEPTH.get();
        loop {
            INSIDE.fetch_add(1, Ordering::SeqCst);
            // A fork waits for a thread that is inside already, which must not wait for the fork; nor
            // must the thread that forks, while it gives up what was kept.
            let own = depth > 0 || TURN.get() != Turn::None;
            if own || !FORKING.load(Ordering::SeqCst) {
                break;
            }
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            std::thread::sleep(PAUSE);
        }
        DEPTH.set(depth + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has `hooks` run around each fork from now on, within all that is done here: whoever is inside
/// [`hold_off`] may need what they lock. For one place in the process; those of a second are ignored.
pub fn innermost(hooks: Hooks) -> io::Result<()> {
    INNERMOST.get_or_init(|| hooks);
    register()
}

/// Has the system run the functions below at each fork. Two threads may both register them, which does
/// no harm: each function does its work once per fork.
fn register() -> io::Result<()> {
    type Hook = unsafe extern "C" fn();
    if REGISTERED.load(Ordering::Acquire) {
        return Ok(());
    }
    let [before, in_parent, in_child]: [Option<Hook>; 3] =
        [Some(before), Some(in_parent), Some(in_child)];
    // SAFETY: the functions are of the type that the system expects, and stay for as long as this
    // library does: one that is unloaded takes them off the list.
    match unsafe { libc::pthread_atfork(before, in_parent, in_child) } {
        0 => REGISTERED.store(true, Ordering::Release),
        code => return Err(io::Error::from_raw_os_error(code)),
    }
    Ok(())
}

extern "C" fn before() {
    if TURN.get() != Turn::None {
        return;
    }
    TURN.set(keep_out());
    if TURN.get() == Turn::Alone && !is_torn() {
        let kept = std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner));
        for what in kept.iter().filter_map(Weak::upgrade) {
            what.give_up();
        }
    }
    if let Some(hooks) = INNERMOST.get() {
        (hooks.before)();
    }
}

/// Keeps all threads but this one from going inside, and waits until nobody is there.
fn keep_out() -> Turn {
    let mut looks = 0;
    let mut wait = || {
        std::thread::sleep(PAUSE);
        looks += 1;
        looks < LOOKS
    };
    while FORKING.swap(true, Ordering::SeqCst) {
        if !wait() {
            return Turn::Refused;
        }
    }
    while INSIDE.load(Ordering::SeqCst) > DEPTH.get() {
        if !wait() {
            return Turn::Crowded;
        }
    }
    Turn::Alone
}

extern "C" fn in_parent() {
    let turn = TURN.replace(Turn::None);
    if turn == Turn::None {
        return;
    }
    COUNT.fetch_add(1, Ordering::SeqCst);
    if let Some(hooks) = INNERMOST.get() {
        (hooks.in_parent)();
    }
    if matches!(turn, Turn::Alone | Turn::Crowded) {
        FORKING.store(false, Ordering::SeqCst);
    }
}

extern "C" fn in_child() {
    match TURN.replace(Turn::None) {
        Turn::None => return,
        Turn::Alone => {}
        Turn::Crowded | Turn::Refused => TORN.store(true, Ordering::Relaxed),
    }
    unshared::give_up_in_child();
    if let Some(hooks) = INNERMOST.get() {
        (hooks.in_child)();
    }
    // Of the threads that there were, only this one is left.
    INSIDE.store(DEPTH.get(), Ordering::SeqCst);
    FORKING.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::{Arc, MutexGuard, mpsc};

    use super::*;

    /// Ends the threads of a test however that ends.
    struct Done<'a>(&'a AtomicBool);

    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// What the child says at its end, by its exit status.
    fn in_a_child(act: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child leaves with _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let right = act();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(!right)) }
        }
        let mut status = -1;
        // SAFETY: `child` is our child, `status` is valid.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        status == 0
    }

    /// While threads take a lock all the time, no child is ever made that finds it locked, whole or
    /// half-done.
    #[test]
    fn a_fork_waits_for_work_that_is_under_way() {
        static PAIR: Mutex<(u64, u64)> = Mutex::new((0, 0));
        let done = AtomicBool::new(false);
        let step = || {
            hold_off(|| {
                let mut pair = PAIR.lock().unwrap_or_else(PoisonError::into_inner);
                pair.0 += 1;
                std::thread::yield_now();
                pair.1 += 1;
            });
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        step();
                    }
                });
            }
            let _done = Done(&done);
            for _ in 0..100 {
                let whole = in_a_child(|| {
                    step();
                    PAIR.try_lock().is_ok_and(|pair| pair.0 == pair.1) && !is_torn()
                });
                assert!(whole);
            }
        });
    }

    /// Work that never ends doesn't keep a process from forking; the child knows. In a process of
    /// its own, as the forks of other tests would not wait either.
    #[test]
    fn a_fork_does_not_wait_for_ever() {
        let right = in_a_child(|| {
            let (begun, running) = mpsc::channel();
            let (release, released) = mpsc::channel::<()>();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    hold_off(|| {
                        let _ = begun.send(());
                        let _ = released.recv();
                    });
                });
                let inside = running.recv().is_ok();
                let torn = in_a_child(|| is_torn() && hold_off(|| true));
                drop(release);
                inside && torn && !is_torn()
            })
        });
        assert!(right);
    }

    /// What was kept is given up before a fork, in parent and child alike, and only once.
    #[test]
    fn what_is_kept_is_given_up() {
        #[derive(Default)]
        struct Kept(AtomicUsize);
        impl GiveUp for Kept {
            fn give_up(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let kept = Arc::new(Kept::default());
        let weak: Weak<Kept> = Arc::downgrade(&kept);
        hold_off(|| before_next(weak));
        for _ in 0..2 {
            assert!(in_a_child(|| kept.0.load(Ordering::Relaxed) == 1));
            assert_eq!(kept.0.load(Ordering::Relaxed), 1);
        }
    }

    /// What the log locks around a fork may be needed by those for whom the fork waits.
    #[test]
    fn what_is_locked_around_a_fork_may_be_used_inside() {
        static LOG: Mutex<()> = Mutex::new(());
        thread_local! {
            static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
        }
        fn lock() -> MutexGuard<'static, ()> {
            LOG.lock().unwrap_or_else(PoisonError::into_inner)
        }
        fn free() {
            HELD.take();
        }
        // Whoever registers last comes first, if he registers with the system.
        hold_off(|| ());
        let before = || drop(HELD.replace(Some(lock())));
        innermost(Hooks { before, in_parent: free, in_child: free }).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        hold_off(|| {
                            std::thread::yield_now();
                            drop(lock());
                        });
                    }
                });
            }
            let _done = Done(&done);
            for _ in 0..100 {
                assert!(in_a_child(|| LOG.try_lock().is_ok() && !is_torn()));
            }
        });
    }
}
