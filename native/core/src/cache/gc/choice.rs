//! Choosing what goes: on paper, from an inventory, in one pass over it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::inventory::{Blob, Inventory, Remains, RepoFolder, SharedBlob, Snapshot, age};
use super::kept::Kept;
use super::packs::Pack;
use super::prune::PruneOptions;
use crate::model::repo::is_lower_hex;

/// A revision without a ref may be one that a download is just filling. It's safe from pruning for
/// so long after the last change.
pub(super) const GRACE: Duration = Duration::from_mins(10);

/// What goes from a cache.
#[derive(Default)]
pub(super) struct Choice<'a> {
    /// What was read in place.
    pub(super) packs: Vec<&'a Pack>,
    /// By repo.
    pub(super) repos: Vec<FromRepo<'a>>,
    /// Shared content that no blob leads to, when all of that is done.
    pub(super) shared: Vec<&'a SharedBlob>,
    /// What has come of contents out of storages.
    pub(super) kept: Vec<&'a Kept>,
    /// What would go if it weren't younger than [`GRACE`].
    pub(super) young: Vec<&'a Snapshot>,
}

/// What goes from one repo, in this order.
pub(super) struct FromRepo<'a> {
    pub(super) repo: &'a RepoFolder,
    pub(super) remains: Vec<&'a Remains>,
    pub(super) revisions: Vec<&'a Snapshot>,
    /// With the etag, and the reason.
    pub(super) blobs: Vec<(&'a str, &'a Blob, &'static str)>,
}

/// Something that can go by itself.
struct Removable<'a> {
    what: What<'a>,
    used: SystemTime,
}

enum What<'a> {
    Remains(usize, &'a Remains),
    Blob(usize, &'a str, &'a Blob),
    Revision(usize, &'a Snapshot),
    Young(&'a Snapshot),
    Shared(&'a SharedBlob),
    Kept(&'a Kept),
    Pack(&'a Pack),
}

/// What holds on to what, while more and more of it goes.
struct Paper<'a> {
    inventory: &'a Inventory,
    /// For each repo, how many revisions link to a blob.
    links: Vec<HashMap<&'a str, usize>>,
    /// How many blobs lead to shared content, by its inode.
    users: HashMap<(u64, u64), usize>,
    shared: HashMap<(u64, u64), &'a SharedBlob>,
    repos: Vec<FromRepo<'a>>,
    gone: Vec<&'a SharedBlob>,
    kept: Vec<&'a Kept>,
    packs: Vec<&'a Pack>,
    young: Vec<&'a Snapshot>,
    freed: u64,
}

impl<'a> Choice<'a> {
    /// What of `inventory` goes under `options`, least recently used first, except what is in `spared`: folders of
    /// repos, and packs. Where room is to be made, what can be read again goes before what was downloaded.
    pub(super) fn new(
        inventory: &'a Inventory,
        options: &PruneOptions,
        spared: &HashSet<&Path>,
    ) -> Self {
        let usage = inventory.usage();
        let total = usage.bytes + usage.bytes_partial + usage.read_bytes;
        let mut paper = Paper::new(inventory);
        let mut candidates = paper.candidates(spared);
        candidates
            .sort_by_key(|candidate| (!matches!(candidate.what, What::Pack(_)), candidate.used));
        let (wanted, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| candidate.is_wanted(options));
        for candidate in wanted {
            paper.remove(&candidate.what);
        }
        for candidate in others {
            if options.max_bytes.is_none_or(|most| total.saturating_sub(paper.freed) <= most) {
                break;
            }
            paper.remove(&candidate.what);
        }
        paper.repos.retain(|from| !from.is_empty());
        let Paper { packs, repos, gone, kept, young, .. } = paper;
        Self { packs, repos, shared: gone, kept, young }
    }
}

impl FromRepo<'_> {
    fn is_empty(&self) -> bool {
        self.remains.is_empty() && self.revisions.is_empty() && self.blobs.is_empty()
    }
}

impl Removable<'_> {
    /// Whether it goes however much room there is.
    fn is_wanted(&self, options: &PruneOptions) -> bool {
        let has_a_limit = matches!(self.what, What::Pack(pack) if pack.is_whole);
        options.unreferenced && !has_a_limit
            || options.older_than.is_some_and(|limit| age(self.used) >= limit)
    }
}

impl<'a> Paper<'a> {
    fn new(inventory: &'a Inventory) -> Self {
        let links = inventory.repos.iter().map(|repo| links(repo.snapshots.iter())).collect();
        let mut users = HashMap::new();
        for blob in inventory.repos.iter().flat_map(|repo| repo.blobs.values()) {
            if blob.shared.is_some() {
                *users.entry(blob.inode).or_default() += 1;
            }
        }
        let shared = inventory.shared.iter().map(|shared| (shared.inode, shared)).collect();
        let from =
            |repo| FromRepo { repo, remains: Vec::new(), revisions: Vec::new(), blobs: Vec::new() };
        let repos = inventory.repos.iter().map(from).collect();
        let (gone, kept, packs, young) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { inventory, links, users, shared, repos, gone, kept, packs, young, freed: 0 }
    }

    fn candidates(&self, spared: &HashSet<&Path>) -> Vec<Removable<'a>> {
        let mut candidates = Vec::new();
        for (i, repo) in self.inventory.repos.iter().enumerate() {
            if spared.contains(repo.folder.as_path()) || !repo.doubts.is_empty() {
                continue;
            }
            candidates.extend(repo.remains.iter().map(|remains| Removable {
                what: What::Remains(i, remains),
                used: remains.changed,
            }));
            for (etag, blob) in &repo.blobs {
                if !self.links[i].contains_key(etag.as_str()) {
                    candidates.push(Removable { what: What::Blob(i, etag, blob), used: blob.used });
                }
            }
            for snapshot in repo.own_revisions() {
                // A folder with another name isn't a revision, whatever it is.
                let is_revision = is_lower_hex(&snapshot.commit, 40);
                if !is_revision || repo.refs.contains_key(&snapshot.commit) {
                    continue;
                }
                let blobs = snapshot.pointers.iter().filter_map(|(_, e)| repo.blobs.get(e));
                let used = blobs.map(|blob| blob.used).max().unwrap_or(snapshot.changed);
                let used = used.max(snapshot.changed);
                let what = if age(snapshot.changed) >= GRACE {
                    What::Revision(i, snapshot)
                } else {
                    What::Young(snapshot)
                };
                candidates.push(Removable { what, used });
            }
        }
        candidates.extend(
            self.inventory
                .kept
                .iter()
                .map(|kept| Removable { what: What::Kept(kept), used: kept.changed }),
        );
        let packs = self.inventory.packs.iter();
        let packs =
            packs.filter(|pack| !pack.is_being_written() && !spared.contains(pack.path.as_path()));
        candidates
            .extend(packs.map(|pack| Removable { what: What::Pack(pack), used: pack.changed }));
        let unused =
            |shared: &&SharedBlob| !shared.is_referenced && !self.users.contains_key(&shared.inode);
        candidates.extend(
            self.inventory
                .shared
                .iter()
                .filter(unused)
                .map(|shared| Removable { what: What::Shared(shared), used: shared.used }),
        );
        candidates
    }

    fn remove(&mut self, what: &What<'a>) {
        match *what {
            What::Remains(i, remains) => {
                self.freed += remains.size;
                self.repos[i].remains.push(remains);
            }
            What::Blob(i, etag, blob) => self.remove_blob(i, etag, blob, "no revision has it"),
            What::Revision(i, snapshot) => {
                self.freed += snapshot.files.iter().map(|(_, size)| size).sum::<u64>();
                self.repos[i].revisions.push(snapshot);
                let mut etags: Vec<_> = snapshot.pointers.iter().map(|(_, e)| e.as_str()).collect();
                etags.sort_unstable();
                etags.dedup();
                for etag in etags {
                    let Some(links) = self.links[i].get_mut(etag) else { continue };
                    *links -= 1;
                    if let (0, Some(blob)) = (*links, self.inventory.repos[i].blobs.get(etag)) {
                        self.remove_blob(i, etag, blob, "no ref names its revision");
                    }
                }
            }
            What::Young(snapshot) => self.young.push(snapshot),
            What::Shared(shared) => self.remove_shared(shared),
            What::Kept(kept) => {
                self.freed += kept.size;
                self.kept.push(kept);
            }
            What::Pack(pack) => {
                self.freed += pack.size;
                self.packs.push(pack);
            }
        }
    }

    fn remove_blob(&mut self, i: usize, etag: &'a str, blob: &'a Blob, reason: &'static str) {
        self.freed += blob.frees();
        self.repos[i].blobs.push((etag, blob, reason));
        if blob.shared.is_none() {
            return;
        }
        let Some(users) = self.users.get_mut(&blob.inode) else { return };
        *users -= 1;
        if let (0, Some(&shared)) = (*users, self.shared.get(&blob.inode))
            && !shared.is_needed_elsewhere
        {
            self.remove_shared(shared);
        }
    }

    fn remove_shared(&mut self, shared: &'a SharedBlob) {
        self.freed += shared.frees();
        self.gone.push(shared);
    }
}

impl Blob {
    /// What is free when it has gone. What a link leads to is the shared store's, and the other names
    /// of a file keep its content.
    pub(super) fn frees(&self) -> u64 {
        if self.shared.is_some() || self.has_other_names { 0 } else { self.size }
    }
}

impl SharedBlob {
    /// What is free when it has gone.
    pub(super) fn frees(&self) -> u64 {
        if self.has_other_names { 0 } else { self.size }
    }
}

/// How many of these revisions link to a blob, by its etag.
pub(super) fn links<'a>(
    snapshots: impl IntoIterator<Item = &'a Snapshot>,
) -> HashMap<&'a str, usize> {
    let mut links = HashMap::new();
    for snapshot in snapshots {
        let etags: HashSet<_> = snapshot.pointers.iter().map(|(_, etag)| etag.as_str()).collect();
        for etag in etags {
            *links.entry(etag).or_default() += 1;
        }
    }
    links
}
