//! Looks at many files and folders: as many at a time as the disk makes worthwhile, with signs of life,
//! and until told to stop.
//!
//! A local disk answers from memory, and one thread is the fastest. A network file system takes a round
//! trip for each question (NFS, EFS, Lustre: a millisecond), so there many are asked side by side. Which
//! of them it is, the answers themselves tell: the type of the file system doesn't (FUSE is either).

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::call::progress::Counters;
use crate::model::error::{Error, Result};
use crate::sys::files;

/// Threads that look side by side, at most, where that helps.
const WIDTH: usize = 24;

/// Answers after which a thread judges the disk, again and again: it may become slow later.
const SAMPLE: usize = 16;

/// Above this, an answer has come over a network, or from a disk that serves many at a time.
const SLOW: Duration = Duration::from_micros(200);

/// Misses in a folder after which all of its names are fetched at once.
const MISSES: u32 = 4;

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

    pub(super) fn counters(&self) -> &Counters {
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
        let mut answers = thread::scope(|scope| {
            let mut helpers = Vec::new();
            let mine = work.run(|| {
                if helpers.is_empty() && !IS_HELPER.get() {
                    let wanted = WIDTH.min(work.left()).saturating_sub(1);
                    // A machine that has no more threads to give makes this slow, not impossible.
                    helpers.extend((0..wanted).map_while(|_| {
                        let help = || {
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

/// Something in a folder.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
}

/// What is in a folder, by name; nothing if there is no such folder.
pub(super) fn list(folder: &Path) -> Result<Vec<Found>> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(e) if files::is_absent(&e) => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", folder, e)),
    };
    let mut found = Vec::new();
    for item in list {
        let item = item.map_err(|e| Error::io("list", folder, e))?;
        let (name, path) = (item.file_name().to_string_lossy().into_owned(), item.path());
        // Most file systems tell it with the name.
        match item.file_type() {
            Ok(kind) => found.push(Found { name, path, kind }),
            Err(e) if files::is_absent(&e) => {}
            Err(e) => return Err(Error::io("look at", &path, e)),
        }
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Which names there are in some folders. After a few misses in a folder its names are fetched at once,
/// so that what isn't there costs nothing more: a first download asks for thousands of such files.
///
/// What it knows may be outdated at once, as every look may be.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashMap<PathBuf, Arc<Folder>>>);

#[derive(Debug, Default)]
struct Folder {
    misses: AtomicUsize,
    /// `None`: it can't be listed, so one has to look for each name.
    names: OnceLock<Option<HashSet<OsString>>>,
}

impl Names {
    /// Names below `root`. If that isn't there, it's known already that nothing is.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let names = Self::default();
        if matches!(fs::symlink_metadata(root), Err(e) if files::is_absent(&e)) {
            let _ = names.folder(root).names.set(Some(HashSet::new()));
        }
        names
    }

    /// What `look` finds at `path`, which isn't asked where there is known to be nothing.
    pub(super) fn find<T>(
        &self,
        path: &Path,
        look: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let folder = files::parent(path);
        if self.is_absent(path) {
            return Ok(None);
        }
        let found = look()?;
        if found.is_none() {
            let known = self.folder(folder);
            if known.misses.fetch_add(1, Ordering::Relaxed) + 1 == MISSES as usize {
                known.names.get_or_init(|| names(folder));
            }
        }
        Ok(found)
    }

    /// Whether `path`, or a folder above it, is known not to be there.
    fn is_absent(&self, path: &Path) -> bool {
        let folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = path;
        while let (Some(folder), Some(name)) = (at.parent(), at.file_name()) {
            let known = folders.get(folder).and_then(|known| known.names.get());
            if known.is_some_and(|names| names.as_ref().is_some_and(|names| !names.contains(name)))
            {
                return true;
            }
            at = folder;
        }
        false
    }

    fn folder(&self, folder: &Path) -> Arc<Folder> {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = folders.get(folder) {
            return Arc::clone(known);
        }
        Arc::clone(folders.entry(folder.to_path_buf()).or_default())
    }
}

fn names(folder: &Path) -> Option<HashSet<OsString>> {
    match fs::read_dir(folder) {
        Ok(list) => {
            list.map(|item| item.map(|item| item.file_name())).collect::<Result<_, _>>().ok()
        }
        Err(e) if files::is_absent(&e) => Some(HashSet::new()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

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

    /// What isn't there is asked for a few times, and then known; what is there is always looked at.
    #[test]
    fn a_folder_is_listed_after_a_few_misses() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("there"), "").unwrap();
        let names = Names::below(folder.path());
        let looks = AtomicUsize::new(0);
        let find = |name: &str| {
            let path = folder.path().join(name);
            let found = names.find(&path, || {
                looks.fetch_add(1, Ordering::Relaxed);
                Ok(path.exists().then_some(()))
            });
            found.unwrap().is_some()
        };
        for i in 0..100 {
            assert!(!find(&format!("absent {i}")));
            assert!(!find(&format!("absent/{i}")));
        }
        assert!(looks.load(Ordering::Relaxed) <= 2 * MISSES as usize);
        assert!(find("there"));
        let nowhere = Names::below(&folder.path().join("nowhere"));
        let found = nowhere.find::<()>(&folder.path().join("nowhere/d/x"), || panic!("asked"));
        assert!(found.unwrap().is_none());
    }
}
