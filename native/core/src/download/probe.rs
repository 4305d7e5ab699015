//! What a transfer would do: the plan of a whole call, for a dry run, and for the question whether it
//! fits on the disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::transfer::Transfer;
use super::{partial, received, xet};
use crate::cache::{Group, Probed, dedupe};
use crate::call::walk::Walk;
use crate::download::plan::{Plan, PlannedFile};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Entry, RepoPath, Revision};
use crate::sys::disk;

/// Files that are looked at side by side.
const FILES: usize = 8;
/// So many requests may need more than one of a server's windows.
const MANY: u64 = 20;

impl Transfer {
    /// What bringing in `entries` would take. Asks the CAS where it has to; changes nothing.
    pub(crate) async fn plan(self: &Arc<Self>, entries: Vec<Entry>) -> Result<Plan> {
        let mut order: Vec<String> = entries.iter().map(|entry| entry.path.to_string()).collect();
        let over_xet = |entry: &Entry| self.cas.is_some() && entry.xet_hash().is_some();
        let plain: HashSet<String> = entries
            .iter()
            .filter(|entry| !over_xet(entry))
            .map(|entry| entry.path.to_string())
            .collect();
        let probed = Arc::new(self.probe(&entries).await?);
        let shares_blocks = self.shares_blocks().await;
        let groups: Vec<_> = stream::iter(dedupe(entries))
            .map(|group| Arc::clone(self).plan_group(group, Arc::clone(&probed), shares_blocks))
            .buffered(FILES)
            .try_collect()
            .await?;
        let mut disk_need = 0_u64;
        let mut files = HashMap::new();
        for (planned, need) in groups {
            disk_need = disk_need.saturating_add(need);
            files.extend(planned.into_iter().map(|file| (file.path.clone(), file)));
        }
        let files: Vec<PlannedFile> =
            order.drain(..).filter_map(|path| files.remove(&path)).collect();
        let disk_free = self.disk_free().await;
        let asked: Vec<&PlannedFile> = files
            .iter()
            .filter(|file| file.bytes_remote > 0 && plain.contains(&file.path))
            .collect();
        let requests = asked.len() as u64;
        let windows = match asked.first() {
            Some(first) => self.windows(requests, &first.path).await,
            None => None,
        };
        let commit = self.commit.clone();
        Ok(Plan { commit, files, disk_need, disk_free, requests, windows })
    }

    /// How many windows of the Hub's rate limit so many requests need. Where the Hub hasn't said yet how many
    /// it takes, a look at one of the files tells, which is worth it for many.
    async fn windows(&self, requests: u64, path: &str) -> Option<u64> {
        let known = self.hub.windows_of_files(requests);
        if known.is_some() || requests < MANY {
            return known;
        }
        let revision = Revision::new(self.commit.as_str()).ok()?;
        let (path, once) = (RepoPath::new(path).ok()?, self.hub.with_retry(self.policy.once()));
        // Whatever comes of it: the headers count.
        if let Err(error) = once.look_up(&self.repo, &revision, &path, &self.call.counters).await {
            tracing::debug!(%path, %error, "a look at a file failed");
        }
        self.hub.windows_of_files(requests)
    }

    /// The files of a group, and how much they would take on the disk.
    async fn plan_group(
        self: Arc<Self>,
        group: Group,
        probed: Arc<HashMap<RepoPath, Probed>>,
        shares_blocks: bool,
    ) -> Result<(Vec<PlannedFile>, u64)> {
        let of = |entry: &Entry| probed.get(&entry.path).cloned().unwrap_or(Probed::Missing(None));
        let (first, mut need) =
            self.plan_file(&group.first, of(&group.first), shares_blocks).await?;
        let mut files = vec![first];
        for other in group.others {
            let probed = of(&other);
            let mut file = PlannedFile::new(&other);
            match probed {
                Probed::Present => file.bytes_present = other.size,
                _ => file.bytes_reusable = other.size,
            }
            if probed != Probed::Present && self.target.copies_duplicates() {
                need = need.saturating_add(other.size);
            }
            files.push(file);
        }
        Ok((files, need))
    }

    async fn plan_file(
        self: &Arc<Self>,
        entry: &Entry,
        probed: Probed,
        shares_blocks: bool,
    ) -> Result<(PlannedFile, u64)> {
        let mut file = PlannedFile::new(entry);
        let partial = match probed {
            Probed::Present => {
                file.bytes_present = entry.size;
                return Ok((file, 0));
            }
            Probed::Linked => {
                file.bytes_reusable = entry.size;
                return Ok((file, 0));
            }
            Probed::Copied => {
                file.bytes_reusable = entry.size;
                return Ok((file, entry.size));
            }
            Probed::Missing(partial) => partial.filter(|_| !self.force),
        };
        if let Some(hash) = entry.xet_hash() {
            let local = self.local(entry);
            let had =
                xet::probe(entry, *hash, partial, self.cas.as_ref(), local.as_ref(), &self.call);
            let had = had.await?;
            (file.bytes_present, file.bytes_reusable) = (had.present, had.reusable);
        } else if let Some(partial) = partial {
            let len = self.call.blocking("a look at what an earlier attempt has left", move || {
                let held = partial.metadata().map_or(0, |m| m.len());
                Ok(received::noted(&partial::parts_path(&partial), held).unwrap_or(held))
            });
            file.bytes_present = len.await?.min(entry.size);
        }
        file.bytes_remote = entry.size - file.bytes_present - file.bytes_reusable;
        let need = entry.size - file.bytes_present;
        // What shares its blocks with another file takes none.
        let need = if shares_blocks { need - file.bytes_reusable } else { need };
        Ok((file, need))
    }

    /// What there is of each of `entries` on this machine.
    async fn probe(self: &Arc<Self>, entries: &[Entry]) -> Result<HashMap<RepoPath, Probed>> {
        if self.force {
            return Ok(HashMap::new());
        }
        let (this, entries) = (Arc::clone(self), entries.to_vec());
        self.call
            .blocking("a look at what is here", move || {
                let (names, root) = (this.target.names(), this.target.root());
                let walk = Walk::new(&this.call);
                this.target.find_kin(this.hub.name_of(&this.repo).as_ref(), &entries, &walk)?;
                let probe = |entry: &Entry| match this.target.probe(&names, entry, &walk) {
                    Err(error) if this.refused.takes(&root, entry, &error) => {
                        Ok(Probed::Missing(None))
                    }
                    probed => probed,
                };
                let probed = walk.each(&entries, probe)?;
                Ok(entries.into_iter().map(|entry| entry.path).zip(probed).collect())
            })
            .await
    }

    /// Fails if what `missing` would take is known not to fit on the disk.
    ///
    /// Only a file system that can share blocks may need less than all that isn't there, and only
    /// there it's worth to ask the CAS how much.
    pub(super) async fn check_space(self: &Arc<Self>, missing: &[Entry]) -> Result<()> {
        let Some(free) = self.disk_free().await else { return Ok(()) };
        let most = missing.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        if most <= free {
            return Ok(());
        }
        let need = self.plan(missing.to_vec()).await?.disk_need;
        if need <= free {
            return Ok(());
        }
        let folder = self.target.content_folder();
        let message = format!(
            "the download needs {} of disk space, but {} are free where {} is; make room, download \
             less (allow_patterns), or download to another disk",
            bytes(need),
            bytes(free),
            folder.display()
        );
        Err(Error::new(Kind::NoSpace, message).with(|c| {
            c.bytes_needed = Some(need);
            c.bytes_free = Some(free);
            c.file = Some(folder.display().to_string());
        }))
    }

    /// `None`: the system doesn't say.
    async fn disk_free(self: &Arc<Self>) -> Option<u64> {
        let this = Arc::clone(self);
        let free = self.call.blocking("a look at the room on the disk", move || {
            Ok(disk::free(&this.target.content_folder()).unwrap_or_else(|error| {
                tracing::debug!(%error, "can't tell how much room there is");
                None
            }))
        });
        free.await.ok().flatten()
    }

    async fn shares_blocks(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        let shares = self.call.blocking("a look at what the file system can do", move || {
            Ok(disk::can_share(&this.target.content_folder()))
        });
        shares.await.unwrap_or(false)
    }
}

/// A size for people, in decimal units as the Hub shows them.
fn bytes(count: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with two digits")]
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.2} TB")
}
