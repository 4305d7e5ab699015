//! Removing what a person names: a repo, or revisions of it, whether or not a ref names them. What others need
//! stays, and so does all of it while anybody is at work on the repo.

use std::collections::HashSet;
use std::fs;

use super::super::layout::Cache;
use super::super::{refs, tree};
use super::choice::{FromRepo, links};
use super::inventory::{Inventory, RepoFolder};
use super::prune::{Pruned, Pruner};
use super::remover::{ASKED, Remover};
use super::verify::Finding;
use crate::call::walk::Walk;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Repo};
use crate::sys::files;

/// What is to go.
#[derive(Clone, Debug)]
pub struct Unwanted {
    /// From which repo.
    pub repo: Repo,
    /// Its revisions, by the names of their folders; `None`: all that there are, and the repo.
    pub commits: Option<Vec<String>>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// Removes that from `cache`. Fails if it isn't there, or is in use: then all of it stays. `walk` can stop it between
/// any two removals: what has gone by then has gone, and what is left is whole, since names go before contents.
pub fn remove(cache: &Cache, unwanted: &Unwanted, walk: &Walk) -> Result<Pruned> {
    let inventory = Inventory::take(cache, walk)?;
    let named = &unwanted.repo;
    let found = inventory.repos.iter().find(|repo| repo.repo == *named);
    let absent = |what: String| Error::new(Kind::NotFound, format!("{what} isn't in the cache"));
    let repo = found.ok_or_else(|| absent(named.to_string()))?;
    if let Some(doubt) = repo.doubts.iter().find(|doubt| is_of_others(repo, doubt)) {
        let (path, why) = (doubt.path.display(), &doubt.reason);
        return Err(Error::new(Kind::Conflict, format!("{named} is kept, since {path} {why}")));
    }
    let is_there = |commit: &str| repo.snapshots.iter().any(|found| found.commit == commit);
    let commits = unwanted.commits.iter().flatten();
    if let Some(lost) = commits.clone().find(|commit| !is_there(commit)) {
        return Err(absent(format!("{lost:?} of {named}")));
    }
    let commits: HashSet<_> = commits.map(String::as_str).collect();
    let is_chosen = |commit: &str| unwanted.commits.is_none() || commits.contains(commit);
    let is_all = !commits.is_empty() && repo.snapshots.iter().all(|one| is_chosen(&one.commit));
    let is_whole = unwanted.commits.is_none() || is_all;
    let from = choose(repo, is_whole, is_chosen);
    let mut pruner = Pruner::new(cache, walk, unwanted.dry_run);
    {
        let mut remover = Remover::new(&mut pruner, repo, true);
        if !remover.hold()? || remover.is_somebody_at_work()? {
            let message = format!("{named} is in use: somebody downloads into it; all of it stays");
            return Err(Error::new(Kind::Conflict, message));
        }
        remover.forget_names(|commit| is_whole || commit.is_some_and(is_chosen))?;
        remover.remove_all(&from)?;
        if !unwanted.dry_run {
            for commit in from.revisions.iter().filter_map(|gone| CommitId::parse(&gone.commit)) {
                tree::forget(&repo.folder, &commit);
            }
            if is_whole && remover.pruner.pruned.kept.is_empty() {
                remover.remove_folder();
            }
        }
    }
    let ends: HashSet<_> = from.blobs.iter().map(|(_, blob, _)| blob.inode).collect();
    for shared in inventory.shared.iter().filter(|shared| ends.contains(&shared.inode)) {
        walk.step()?;
        pruner.remove_shared(shared)?;
    }
    Ok(pruner.pruned)
}

/// Whether what can't be understood is that others may need what is in the repo. That its own refs are odd is no
/// reason to keep what somebody wants gone.
fn is_of_others(repo: &RepoFolder, doubt: &Finding) -> bool {
    let folder = repo.folder.as_path();
    [folder.to_path_buf(), folder.join("snapshots"), folder.join("blobs")].contains(&doubt.path)
}

/// What goes with the chosen revisions. A blob that no revision has may be one of a revision that is on its way; it
/// goes with the repo.
fn choose(repo: &RepoFolder, is_whole: bool, is_chosen: impl Fn(&str) -> bool) -> FromRepo<'_> {
    let (going, staying): (Vec<_>, Vec<_>) =
        repo.snapshots.iter().partition(|found| is_chosen(&found.commit));
    let needed = links(staying);
    let linked = links(going.iter().copied());
    let goes = |etag: &str| is_whole || linked.contains_key(etag) && !needed.contains_key(etag);
    let blobs = repo.blobs.iter().filter(|(etag, _)| goes(etag));
    FromRepo {
        repo,
        remains: if is_whole { repo.remains.iter().collect() } else { Vec::new() },
        revisions: going,
        blobs: blobs.map(|(etag, blob)| (etag.as_str(), blob, ASKED)).collect(),
    }
}

impl Remover<'_, '_, '_> {
    /// Removes refs first, those for whose commit, if it can be read, `goes` says so: whoever comes meanwhile finds
    /// revisions without a name, and no name without its revision.
    fn forget_names(&mut self, goes: impl Fn(Option<&str>) -> bool) -> Result<()> {
        let all = refs::each(&self.repo.folder.join("refs"))?;
        for (path, commit) in all.iter().filter(|(_, commit)| goes(commit.as_deref())) {
            tracing::debug!(path = %path.display(), ?commit, "a ref goes with its revision");
            if !self.pruner.dry_run {
                fs::remove_file(path)
                    .or_else(absent_is_fine)
                    .map_err(|e| Error::io("remove", path, e))?;
            }
        }
        Ok(())
    }

    /// What is left of a repo of which everything has gone: folders, listings, notes.
    fn remove_folder(&mut self) {
        let folder = self.repo.folder.clone();
        if let Err(error) = fs::remove_dir_all(&folder)
            && !files::is_absent(&error)
        {
            self.pruner.keep(&folder, 0, &format!("it can't be removed: {error}"));
        }
    }
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if files::is_absent(&error) { Ok(()) } else { Err(error) }
}
