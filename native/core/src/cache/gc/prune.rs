//! Removing what nothing holds on to.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::layout::Cache;
use super::choice::Choice;
use super::inventory::{Inventory, RepoFolder, SharedBlob};
use super::look::References;
use super::remover::{self, LOCKED_NOW};
use super::verify::Finding;
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::sys::files;
use crate::sys::lock::FileLock;

/// How long to wait for a lock of the shared store.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// How often to choose anew where what was chosen turned out to be in use.
const ROUNDS: u32 = 3;

/// Why a revision is kept for [`GRACE`](super::choice::GRACE).
pub(super) const YOUNG: &str =
    "it was made or changed in the last 10 minutes, so a download may be filling it";

/// What may go. Whatever is chosen, only what nothing refers to goes, and what is kept of what was read in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// All of it, except what was read in place, which has a limit of its own.
    pub unreferenced: bool,
    /// What was not used for that long; what was read in place: not written.
    pub older_than: Option<Duration>,
    /// What was read in place, and then what was not used for longest, until all has at most so many bytes.
    pub max_bytes: Option<u64>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Space that is free now.
    pub bytes: u64,
    /// What was removed, with the reason.
    pub removed: Vec<Finding>,
    /// What could have gone and was kept, with the reason: it's in use, or can't be removed. Each once.
    pub kept: Vec<Finding>,
}

/// Removes from `cache`, and what of ours is in `xet_cache`; `forget` is told of each pack that has gone. Takes time
/// in proportion to what is there, and `walk` can stop it between any two removals: what has gone by then has gone.
pub fn prune(
    cache: &Cache,
    xet_cache: &Path,
    options: &PruneOptions,
    forget: &dyn Fn(&Path),
    walk: &Walk,
) -> Result<Pruned> {
    let mut pruner = Pruner::new(cache, walk, options.dry_run);
    for _ in 0..ROUNDS {
        let inventory = Inventory::take(cache, walk)?.with_xet_cache(xet_cache, walk)?;
        for finding in inventory.repos.iter().flat_map(RepoFolder::findings) {
            pruner.pruned.kept.push(finding.clone());
        }
        let spared: Vec<_> = pruner.spared.clone();
        let spared = spared.iter().map(PathBuf::as_path).collect();
        let choice = Choice::new(&inventory, options, &spared);
        pruner.announce(&choice);
        for young in &choice.young {
            pruner.keep(&young.folder, 0, YOUNG);
        }
        let kept = pruner.pruned.kept.len();
        for pack in &choice.packs {
            walk.step()?;
            if !pruner.remove_pack(pack, forget)? {
                pruner.spared.push(pack.path.clone());
            }
        }
        for from in &choice.repos {
            if !remover::remove(&mut pruner, from)? {
                pruner.spared.push(from.repo.folder.clone());
            }
        }
        for shared in &choice.shared {
            walk.step()?;
            pruner.remove_shared(shared)?;
        }
        for left in &choice.kept {
            walk.step()?;
            pruner.remove_kept(left)?;
        }
        // What was kept may have been what should make room.
        if options.dry_run || options.max_bytes.is_none() || pruner.pruned.kept.len() == kept {
            break;
        }
    }
    let mut done = pruner.pruned;
    let mut seen = HashSet::new();
    // By the last look at it.
    done.kept.reverse();
    done.kept.retain(|kept| seen.insert(kept.path.clone()));
    done.kept.reverse();
    for kept in &done.kept {
        tracing::info!(path = %kept.path.display(), reason = kept.reason, "kept");
    }
    Ok(done)
}

/// What a pruning is at.
pub(super) struct Pruner<'a> {
    pub(super) cache: &'a Cache,
    pub(super) walk: &'a Walk,
    pub(super) dry_run: bool,
    pub(super) pruned: Pruned,
    /// Repos that are in use, and packs that can't be removed.
    spared: Vec<PathBuf>,
    /// What a dry run would have removed so far.
    gone: HashSet<PathBuf>,
}

impl<'a> Pruner<'a> {
    pub(super) fn new(cache: &'a Cache, walk: &'a Walk, dry_run: bool) -> Self {
        let (pruned, spared, gone) = (Pruned::default(), Vec::new(), HashSet::new());
        Self { cache, walk, dry_run, pruned, spared, gone }
    }

    /// Says how much there is to do.
    fn announce(&self, choice: &Choice<'_>) {
        let (mut files, mut bytes) = (choice.shared.len(), 0);
        for from in &choice.repos {
            let revisions = from.revisions.iter();
            let names = revisions.map(|r| r.pointers.len() + r.files.len()).sum::<usize>();
            files += from.remains.len() + from.blobs.len() + names;
            bytes += from.remains.iter().map(|remains| remains.size).sum::<u64>();
            bytes += from.blobs.iter().map(|(_, blob, _)| blob.frees()).sum::<u64>();
            let files = from.revisions.iter().flat_map(|revision| &revision.files);
            bytes += files.map(|(_, size)| size).sum::<u64>();
        }
        files += choice.kept.len() + choice.packs.len();
        bytes += choice.packs.iter().map(|pack| pack.size).sum::<u64>();
        bytes += choice.kept.iter().map(|kept| kept.size).sum::<u64>();
        bytes += choice.shared.iter().map(|shared| shared.frees()).sum::<u64>();
        self.walk.counters().set_totals(u32::try_from(files).unwrap_or(u32::MAX), bytes);
    }

    /// Removes files, `frees` bytes with each, and notes what has gone.
    pub(super) fn unlink(&mut self, files: &[(&Path, u64)], reason: &str) -> Result<()> {
        let (dry_run, counters) = (self.dry_run, self.walk.counters());
        let unlink = |&(path, frees): &(&Path, u64)| {
            if !dry_run && let Err(error) = fs::remove_file(path) {
                let reason = format!("it can't be removed: {error}");
                let kept = Finding { path: path.to_path_buf(), bytes: frees, reason };
                return Ok((!files::is_absent(&error)).then_some(Err(kept)));
            }
            counters.add_removed(frees);
            let finding =
                Finding { path: path.to_path_buf(), bytes: frees, reason: reason.to_owned() };
            Ok(Some(Ok(finding)))
        };
        for finding in self.walk.each(files, unlink)?.into_iter().flatten() {
            let finding = match finding {
                Ok(finding) => finding,
                Err(kept) => {
                    tracing::warn!(path = %kept.path.display(), reason = kept.reason, "kept");
                    self.pruned.kept.push(kept);
                    continue;
                }
            };
            if dry_run {
                self.gone.insert(finding.path.clone());
            }
            self.pruned.bytes += finding.bytes;
            self.pruned.removed.push(finding);
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, path: &Path, bytes: u64, reason: &str) {
        let (path, reason) = (path.to_path_buf(), reason.to_owned());
        self.pruned.kept.push(Finding { path, bytes, reason });
    }

    pub(super) fn remove_shared(&mut self, shared: &SharedBlob) -> Result<()> {
        let content = shared.path.as_path();
        let beside = |extension: &str| {
            let mut path = content.as_os_str().to_owned();
            path.push(extension);
            PathBuf::from(path)
        };
        let lock = if self.dry_run {
            (!FileLock::is_held(&beside(".lock"))?).then_some(None)
        } else {
            let lock = FileLock::acquire_within(&beside(".lock"), 0o666, LOCK_LIMIT)?;
            lock.filter(FileLock::is_exclusive).map(Some)
        };
        let Some(_lock) = lock else {
            self.keep(content, shared.size, LOCKED_NOW);
            return Ok(());
        };
        let known = |blob: &Path| self.gone.contains(blob).then_some(false);
        let references = References::of(self.cache.root(), content, known);
        if references.here || references.elsewhere {
            return Ok(());
        }
        self.unlink(&[(content, shared.frees())], "no repo has it")?;
        if !self.dry_run {
            files::discard(&beside(".refs"));
        }
        Ok(())
    }
}
