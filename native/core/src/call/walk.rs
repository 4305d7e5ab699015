//! Looks at many files and folders: as many at a time as the disk makes worthwhile, with signs of life,
//! and until told to stop.
//!
//! A local disk answers from memory, and one thread is the fastest. A network file system takes a round
//! trip for each question (NFS, EFS, Lustre: a millisecond), so there many are asked side by side. Which
//! of them it is, the answers themselves tell: the type of the file system doesn't (FUSE is either).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Call;
use super::progress::Counters;
use crate::model::error::{Error, Result};

/// Threads that look side by side in one walk, at most, where that helps.
const WIDTH: usize = 24;

/// Answers after which a thread judges the disk, again and again: it may become slow later.
const SAMPLE: usize = 16;

/// Above this, an answer has come over a network, or from a disk that serves many at a time.
const SLOW: Duration = Duration::from_micros(200);

thread_local! {
    /// This thread looks at a part of something larger; what it begins, it does by itself.
    static IS_HELPER: Cell<bool> = const { Cell::new(false) };
}

/// How a walk is stopped, and to whom it shows life. Cheap to clone. The default one is stopped by
/// nobody.
#[derive(Clone, Default)]
pub struct Walk(Call);

impl Walk {
    /// A walk of a call's.
    pub(crate) fn new(call: &Call) -> Self {
        Self(call.clone())
    }

    /// Shows life, and fails if the walk is to stop. For between two system calls.
    pub fn step(&self) -> Result<()> {
        if self.0.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.0.beat();
        Ok(())
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Asks `look` about each item, and returns the answers in the items' order. The first failure ends
    /// the others. Blocks; one answer should be a few system calls.
    pub fn each<T, R>(&self, items: &[T], look: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>>
    where
        T: Sync,
        R: Send,
    {
        let work = Work {
            walk: self,
            items,
            look: &look,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        };
        let scheduler = &self.0.scheduler;
        let mut answers = thread::scope(|scope| {
            let mut helpers = Vec::new();
            let mine = work.run(|| {
                if helpers.is_empty() && !IS_HELPER.get() {
                    let wanted = WIDTH.min(work.left()).saturating_sub(1);
                    // Where other walks have all of them, or the machine has no more threads to give,
                    // this is slow, not impossible.
                    helpers.extend((0..wanted).map_while(|_| {
                        let permit = scheduler.walkers.try_turn(self.counters(), 1)?;
                        let work = &work;
                        let help = move || {
                            let _permit = permit;
                            IS_HELPER.set(true);
                            work.run(|| ())
                        };
                        thread::Builder::new()
                            .name("xet-walk".into())
                            .spawn_scoped(scope, help)
                            .ok()
                    }));
                }
            });
            let mut answers = mine?;
            for helper in helpers {
                answers.extend(helper.join().map_err(|_| Error::internal("a walk panicked"))??);
            }
            Ok::<_, Error>(answers)
        })?;
        answers.sort_unstable_by_key(|(i, _)| *i);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// Items that several threads look at.
struct Work<'a, T, F> {
    walk: &'a Walk,
    items: &'a [T],
    look: &'a F,
    next: AtomicUsize,
    failed: AtomicBool,
}

impl<T, R, F: Fn(&T) -> Result<R>> Work<'_, T, F> {
    fn left(&self) -> usize {
        self.items.len().saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// Looks at items until there are no more. `slow` is called when answers take long.
    fn run(&self, mut slow: impl FnMut()) -> Result<Vec<(usize, R)>> {
        let mut answers = Vec::new();
        let mut begun = Instant::now();
        while !self.failed.load(Ordering::Relaxed) {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = self.items.get(i) else { break };
            let answer = self.walk.step().and_then(|()| (self.look)(item));
            answers.push((i, answer.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?));
            if answers.len() % SAMPLE == 0 {
                if begun.elapsed().as_micros() > SLOW.as_micros() * SAMPLE as u128 {
                    slow();
                }
                begun = Instant::now();
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Barrier, Mutex};

    use super::*;

    /// Answers come in the order of the questions, and each question shows life.
    #[test]
    fn each_item_is_looked_at_once_and_in_order() {
        let walk = Walk::default();
        let before = walk.0.counters.movement();
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(walk.each(&items, |i| Ok(i + 1)).unwrap(), (1..=1000).collect::<Vec<_>>());
        assert_ne!(walk.0.counters.movement(), before);
    }

    /// Where answers are slow, many are waited for at the same time.
    #[test]
    fn slow_answers_are_waited_for_side_by_side() {
        let barrier = Barrier::new(WIDTH);
        let items: Vec<usize> = (0..SAMPLE + WIDTH).collect();
        let seen = Mutex::new(BTreeSet::new());
        let look = |&i: &usize| {
            if i < SAMPLE {
                thread::sleep(SLOW * 2);
            } else {
                // Passes only if so many wait here at a time.
                barrier.wait();
                seen.lock().unwrap().insert(format!("{:?}", thread::current().id()));
            }
            Ok(())
        };
        Walk::default().each(&items, look).unwrap();
        assert_eq!(seen.lock().unwrap().len(), WIDTH);
    }

    /// All walks on a client have so many threads, and one that finds none left goes on by itself.
    #[test]
    fn walks_share_their_threads() {
        let call = Call::default();
        let taken: Vec<_> =
            std::iter::from_fn(|| call.scheduler.walkers.try_turn(&call.counters, 1)).collect();
        assert!(taken.len() >= WIDTH);
        let seen = Mutex::new(BTreeSet::new());
        let look = |_: &usize| {
            thread::sleep(SLOW * 2);
            seen.lock().unwrap().insert(format!("{:?}", thread::current().id()));
            Ok(())
        };
        let items: Vec<usize> = (0..SAMPLE * 4).collect();
        Walk::new(&call).each(&items, look).unwrap();
        assert_eq!(seen.lock().unwrap().len(), 1);
        drop(taken);
        Walk::new(&call).each(&items, look).unwrap();
        assert!(seen.lock().unwrap().len() > 1);
    }

    /// A walk that is to stop does so in the middle, and one failure ends it.
    #[test]
    fn a_walk_stops_in_the_middle() {
        let walk = Walk::default();
        let looked = AtomicUsize::new(0);
        let look = |&i: &usize| {
            looked.fetch_add(1, Ordering::Relaxed);
            if i == 3 {
                walk.0.cancellation().cancel();
            }
            Ok(())
        };
        let items: Vec<usize> = (0..1000).collect();
        assert!(walk.each(&items, look).is_err());
        assert_eq!(looked.load(Ordering::Relaxed), 4);
        let failing = |&i: &usize| if i == 3 { Err(Error::internal("x")) } else { Ok(()) };
        assert!(Walk::default().each(&items, failing).is_err());
    }
}
