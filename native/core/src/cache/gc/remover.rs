//! Removing from one repo, under its locks.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::super::layout::REPO_LOCK;
use super::super::names::list;
use super::super::refs;
use super::choice::{FromRepo, GRACE, links};
use super::inventory::{Remains, RepoFolder, Snapshot, age};
use super::look::{modified, revision_folder, revision_folders, snapshots};
use super::prune::{Pruner, YOUNG};
use super::verify::Finding;
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::sys::lock::FileLock;

/// Why remains went.
pub(super) const LEFT: &str = "left by an interrupted download";

/// Why something is kept that somebody is at work on.
pub(super) const LOCKED_NOW: &str = "it's locked";

/// Blobs whose locks are held at a time: each is an open file.
const LOCKED: usize = 64;

/// Links that are removed between two looks at the clock.
const STEP: usize = 512;

/// How long the repo's lock is held at a stretch, and for how long it's free then: those who wait ask
/// more often than that.
const HOLD: Duration = Duration::from_millis(500);
const FREE: Duration = Duration::from_millis(60);

/// Two changes of a folder that are closer than this may have the same time: the system's clock for
/// files ticks.
const TICK: Duration = Duration::from_millis(20);

/// Names that may go between two looks at the refs, at least.
const REFS_LAST: usize = STEP;

/// How often to look at all of a repo again because something changes in it.
const LOOKS: u32 = 8;

const IN_USE: &str = "the repo is in use";
const LINKED: &str = "a revision that stays has it";
const UNREFERENCED: &str = "no ref names its revision";
const NAMED_AGAIN: &str = "a ref names it again";

/// Why something went that a person has named.
pub(super) const ASKED: &str = "asked for";

/// Removes what was chosen, as far as it's still so and nobody uses it. False: something was kept.
pub(super) fn remove(pruner: &mut Pruner<'_>, from: &FromRepo<'_>) -> Result<bool> {
    let kept = pruner.pruned.kept.len();
    let mut remover = Remover::new(pruner, from.repo, false);
    if !remover.hold()? {
        remover.pruner.keep(&from.repo.folder, 0, IN_USE);
        return Ok(false);
    }
    remover.remove_all(from)?;
    Ok(remover.pruner.pruned.kept.len() == kept)
}

pub(super) struct Remover<'p, 'a, 'r> {
    pub(super) pruner: &'p mut Pruner<'a>,
    pub(super) repo: &'r RepoFolder,
    /// A person wants what goes to go. Then its age says nothing, nor do refs that can't be read; and where the file
    /// system has no locks, nobody is at work as far as one can see.
    is_asked: bool,
    /// Where its locks are.
    locks: PathBuf,
    /// The repo's lock, and since when.
    held: Option<(FileLock, Instant)>,
    /// Names that have gone so far, or were kept.
    ///
    /// What others may change without our lock is looked at again and again, but not before as many names
    /// were handled as the last look took questions. So all looks together cost no more than the removals,
    /// and what is relied on is at most twice as old as it was when the look ended.
    handled: usize,
    refs: Refs,
    linked: Linked,
}

/// What refs name.
#[derive(Default)]
struct Refs {
    all: refs::All,
    /// So many names are to be handled before the next look.
    due: usize,
}

/// Which blobs revisions link to, and how to see whether that has changed.
struct Linked {
    links: HashMap<String, usize>,
    /// When it was looked at.
    looked: SystemTime,
    /// The folders of all revisions, and when a name in each was last made or removed.
    folders: Vec<(PathBuf, SystemTime)>,
    looks: u32,
    /// So many names are to be handled before the folders are looked at again.
    due: usize,
}

impl<'p, 'a, 'r> Remover<'p, 'a, 'r> {
    pub(super) fn new(pruner: &'p mut Pruner<'a>, repo: &'r RepoFolder, is_asked: bool) -> Self {
        let name = repo.folder.file_name().unwrap_or_default().to_string_lossy();
        Self {
            locks: pruner.cache.locks(&name),
            pruner,
            repo,
            is_asked,
            held: None,
            handled: 0,
            refs: Refs::default(),
            linked: Linked::of(repo),
        }
    }
}

impl Remover<'_, '_, '_> {
    pub(super) fn remove_all(&mut self, from: &FromRepo<'_>) -> Result<()> {
        // A partial file and its journal stand under one lock.
        let mut remains: BTreeMap<&str, Vec<&Remains>> = BTreeMap::new();
        for left in &from.remains {
            remains.entry(&left.etag).or_default().push(left);
        }
        let remains: Vec<_> = remains.into_iter().collect();
        for chunk in remains.chunks(LOCKED) {
            if !self.breathe()? {
                return Ok(());
            }
            let locks = self.lock(chunk, |(etag, _)| etag)?;
            let free =
                chunk.iter().zip(&locks).filter_map(|(left, lock)| Some((left, lock.as_ref()?)));
            let files =
                free.flat_map(|((_, left), lock)| left.iter().map(move |left| (left, lock)));
            // Somebody may have taken it up since it was chosen, and been interrupted again.
            let files = files.filter(|(left, lock)| {
                modified(&left.path) == left.changed
                    && self.is_left_alone(lock.as_ref(), left.changed)
            });
            let files = files.map(|(left, _)| left);
            let files: Vec<_> = files.map(|left| (left.path.as_path(), left.size)).collect();
            self.pruner.unlink(&files, LEFT)?;
        }
        if !from.revisions.is_empty() && self.is_somebody_at_work()? {
            for revision in &from.revisions {
                self.pruner.keep(&revision.folder, 0, IN_USE);
            }
        } else {
            for revision in &from.revisions {
                if !self.remove_revision(revision)? {
                    return Ok(());
                }
            }
            if !from.revisions.is_empty() && !self.pruner.dry_run && !self.look_again()? {
                return Ok(());
            }
        }
        // A dry run has left the revisions that would have gone.
        let gone = if self.pruner.dry_run {
            links(from.revisions.iter().copied())
        } else {
            HashMap::new()
        };
        for chunk in from.blobs.chunks(LOCKED) {
            if !self.breathe()? {
                return Ok(());
            }
            let locks = self.lock(chunk, |(etag, ..)| etag)?;
            let is_due = self.handled >= self.linked.due;
            if is_due && !self.is_up_to_date()? && !self.look_again()? {
                return Ok(());
            }
            let mut wanted = Vec::new();
            for ((etag, blob, reason), lock) in chunk.iter().zip(&locks) {
                let links = self.linked.links.get(*etag).copied().unwrap_or_default();
                let is_free = |lock: &Option<FileLock>| {
                    self.is_left_alone(lock.as_ref(), modified(&blob.path))
                };
                if !lock.as_ref().is_some_and(is_free) {
                    self.pruner.keep(&blob.path, blob.size, LOCKED_NOW);
                } else if links == gone.get(*etag).copied().unwrap_or_default() {
                    wanted.push((*reason, (blob.path.as_path(), blob.frees())));
                } else {
                    self.pruner.keep(&blob.path, blob.frees(), LINKED);
                }
            }
            for alike in wanted.chunk_by(|a, b| a.0 == b.0) {
                let files: Vec<_> = alike.iter().map(|(_, file)| *file).collect();
                self.pruner.unlink(&files, alike[0].0)?;
            }
            self.handled += chunk.len();
        }
        Ok(())
    }

    /// False: the repo is no longer ours.
    fn remove_revision(&mut self, revision: &Snapshot) -> Result<bool> {
        let folder = revision.folder.as_path();
        let walk = self.pruner.walk;
        let found = revision_folder(folder)?;
        let Some(current) = snapshots(found.into_iter().collect(), walk)?.pop() else {
            return Ok(true);
        };
        if age(current.changed) < GRACE && !self.is_asked {
            self.pruner.keep(folder, 0, YOUNG);
            return Ok(true);
        }
        if let Some(hidden) = current.hidden.first() {
            self.pruner.pruned.kept.push(hidden.clone());
            return Ok(true);
        }
        let files = current.files.iter().map(|(path, size)| (path.as_path(), frees(path, *size)));
        let pointers = current.pointers.iter().map(|(path, _)| (path.as_path(), 0));
        let all: Vec<_> = files.chain(pointers).collect();
        for chunk in all.chunks(STEP) {
            if !self.breathe()? {
                return Ok(false);
            }
            // `huggingface_hub` writes the ref first, and takes no lock of ours.
            if self.is_named(&revision.commit) {
                if self.is_asked {
                    self.pruner.keep(folder, 0, NAMED_AGAIN);
                }
                return Ok(true);
            }
            let reason = if self.is_asked { ASKED } else { UNREFERENCED };
            self.pruner.unlink(chunk, reason)?;
            self.handled += chunk.len();
        }
        self.handled += current.folders.len();
        if self.pruner.dry_run {
            return Ok(true);
        }
        for (folder, _) in current.folders.iter().rev() {
            if let Err(error) = fs::remove_dir(folder) {
                tracing::warn!(path = %folder.display(), %error, "can't remove a revision");
                self.pruner.keep(folder, 0, &format!("it can't be removed: {error}"));
            }
        }
        Ok(true)
    }

    fn is_named(&mut self, commit: &str) -> bool {
        if self.handled >= self.refs.due {
            self.refs.all = refs::All::of(&self.repo.folder.join("refs"));
            self.refs.due = self.handled + self.refs.all.count.max(REFS_LAST);
        }
        if self.is_asked {
            // A dry run has left the refs.
            return !self.pruner.dry_run && self.refs.all.commits.contains_key(commit);
        }
        // One that is just being written, or was damaged meanwhile, may be this commit's.
        self.refs.all.commits.contains_key(commit) || !self.refs.all.odd.is_empty()
    }

    /// Takes the repo's lock for ourselves, if it's free.
    pub(super) fn hold(&mut self) -> Result<bool> {
        let path = self.locks.join(REPO_LOCK);
        if self.pruner.dry_run {
            return Ok(!FileLock::is_held(&path)?);
        }
        let lock = FileLock::try_acquire(&path)?.filter(|lock| self.serves(lock));
        self.held = lock.map(|lock| (lock, Instant::now()));
        Ok(self.held.is_some())
    }

    /// Lets others have the repo if we had it for long. False: one of them has it now, or had it meanwhile
    /// and may rely on what he found; the rest of it is kept.
    fn breathe(&mut self) -> Result<bool> {
        self.pruner.walk.step()?;
        let Some((lock, _)) = self.held.take_if(|(_, since)| since.elapsed() > HOLD) else {
            return Ok(true);
        };
        let is_wiped = lock.wipe();
        drop(lock);
        thread::sleep(FREE);
        let is_ours = self.hold()?;
        let was_left_alone =
            is_ours && is_wiped && self.held.as_ref().is_some_and(|(lock, _)| !lock.is_marked());
        if !was_left_alone {
            self.pruner.keep(&self.repo.folder, 0, IN_USE);
        }
        Ok(was_left_alone)
    }

    /// The locks of some blobs, where they are free. A dry run only asks.
    #[allow(clippy::option_option, reason = "taken, free but not taken, held by somebody")]
    fn lock<T: Sync>(
        &self,
        blobs: &[T],
        etag: impl Fn(&T) -> &str + Sync,
    ) -> Result<Vec<Option<Option<FileLock>>>> {
        self.pruner.walk.each(blobs, |blob| {
            let path = self.locks.join(format!("{}.lock", etag(blob)));
            if self.pruner.dry_run {
                return Ok((!FileLock::is_held(&path)?).then_some(None));
            }
            let lock = FileLock::try_acquire(&path)?;
            Ok(lock.filter(|lock| self.serves(lock)).map(Some))
        })
    }

    /// Whether a lock tells enough of what others do.
    fn serves(&self, lock: &FileLock) -> bool {
        lock.is_exclusive() || self.is_asked
    }

    fn is_left_alone(&self, lock: Option<&FileLock>, changed: SystemTime) -> bool {
        self.is_asked || is_left_alone(lock, changed)
    }

    /// Whether somebody, such as `huggingface_hub`, holds the lock of a blob: it may be filling the
    /// revision that is to go.
    pub(super) fn is_somebody_at_work(&self) -> Result<bool> {
        let mut locks = list(&self.locks)?;
        locks.retain(|lock| lock.name != REPO_LOCK);
        let held = self.pruner.walk.each(&locks, |lock| FileLock::is_held(&lock.path))?;
        Ok(held.contains(&true))
    }

    /// Whether all folders of revisions are as they were when the links were looked at.
    fn is_up_to_date(&mut self) -> Result<bool> {
        let linked = &mut self.linked;
        linked.due = self.handled + linked.folders.len().max(LOCKED);
        let is_settled =
            |changed: SystemTime| linked.looked.duration_since(changed).map_or(true, |d| d >= TICK);
        let same = self.pruner.walk.each(&linked.folders, |(folder, changed)| {
            Ok(is_settled(*changed) && modified(folder) == *changed)
        })?;
        Ok(!same.contains(&false))
    }

    /// Looks at all revisions once more. False: there is no end to the changes, so the rest is kept.
    fn look_again(&mut self) -> Result<bool> {
        loop {
            if let Some(hidden) = self.linked.look(self.repo, self.pruner.walk)? {
                self.pruner.pruned.kept.push(hidden);
                return Ok(false);
            }
            if self.is_up_to_date()? {
                return Ok(true);
            }
            if self.linked.looks >= LOOKS {
                self.pruner.keep(&self.repo.folder, 0, IN_USE);
                return Ok(false);
            }
            thread::sleep(TICK);
        }
    }
}

impl Linked {
    /// As the inventory has it.
    fn of(repo: &RepoFolder) -> Self {
        let mut linked = Self::from(&repo.snapshots, repo.looked);
        linked.folders.push((repo.folder.join("snapshots"), repo.revisions_changed));
        linked
    }

    fn from(snapshots: &[Snapshot], looked: SystemTime) -> Self {
        let links =
            links(snapshots.iter()).into_iter().map(|(etag, n)| (etag.to_owned(), n)).collect();
        let folders = snapshots.iter().flat_map(|snapshot| snapshot.folders.clone()).collect();
        Self { links, looked, folders, looks: 0, due: 0 }
    }

    /// Returns what can't be looked at: then what it links to isn't known.
    fn look(&mut self, repo: &RepoFolder, walk: &Walk) -> Result<Option<Finding>> {
        let (looked, folder) = (SystemTime::now(), repo.folder.join("snapshots"));
        let changed = modified(&folder);
        let found = snapshots(revision_folders(&folder)?, walk)?;
        let looks = self.looks + 1;
        *self = Self { looks, ..Self::from(&found, looked) };
        self.folders.push((folder, changed));
        Ok(found.into_iter().find_map(|snapshot| snapshot.hidden.into_iter().next()))
    }
}

/// Whether nobody is at work on what was last changed then. Where a lock says nothing of other machines, what is
/// new may be one of theirs. A dry run takes no lock.
pub(super) fn is_left_alone(lock: Option<&FileLock>, changed: SystemTime) -> bool {
    lock.is_none_or(FileLock::keeps_all_out) || age(changed) >= GRACE
}

/// What is free when a file of a revision has gone: its other names keep the content.
fn frees(path: &Path, size: u64) -> u64 {
    use std::os::unix::fs::MetadataExt;
    if fs::symlink_metadata(path).is_ok_and(|found| found.nlink() > 1) { 0 } else { size }
}
