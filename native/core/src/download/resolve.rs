//! Which files a download is about: what the Hub says of one, or its listing of all, of which each may
//! stand in where the other lacks something.

use std::sync::Arc;

use super::request::Selection;
use super::snapshot::{Download, Resolved};
use crate::http::RetryPolicy;
use crate::hub::{Hub, Looked};
use crate::model::error::{Error, Kind, Result};
use crate::model::refused::Refused;
use crate::model::repo::{CommitId, Entry, Listed, Listing, RepoPath};

impl Download {
    /// Which commit, and which files of it. A commit's tree never changes, so one that is in the
    /// cache saves the request.
    pub(super) async fn resolve(self: &Arc<Self>, policy: RetryPolicy) -> Result<Resolved> {
        let hub = self.session.hub.with_retry(policy);
        let counters = &self.call.counters;
        let (repo, revision) = (&self.request.repo, &self.request.revision);
        match &self.request.selection {
            Selection::File(path) => {
                if let Some(commit) = revision.as_commit()
                    && let Some(entries) = self.cached_tree(&commit).await?
                    && let Some(entry) = entries.into_iter().find(|e| e.path == path.as_str())
                {
                    return Ok(Resolved::one(commit, entry.placed()?));
                }
                let looked = hub.look_up(repo, revision, path, counters).await?;
                let (commit, entry) = match looked {
                    Looked::Found(commit, entry) => {
                        return Ok(Resolved { by_itself: true, ..Resolved::one(commit, entry) });
                    }
                    Looked::Lacking { why, guess } => {
                        self.listed_entry(&hub, path, why, guess).await?
                    }
                };
                Ok(Resolved::one(commit, entry))
            }
            Selection::Snapshot(patterns) => {
                let commit = hub.commit_of(repo, revision, counters).await?;
                let entries = match self.cached_tree(&commit).await? {
                    Some(entries) => entries,
                    None => self.listed_tree(&hub, &commit).await?,
                };
                let listed = entries.len();
                let entries: Vec<Listed> =
                    entries.into_iter().filter(|e| patterns.matches(&e.path)).collect();
                if entries.is_empty() && listed > 0 {
                    tracing::warn!(%repo, "none of the {listed} files matches the patterns");
                }
                let refused = Refused::default();
                let entries = refused.sort_out(entries);
                Ok(Resolved { commit, entries, refused, by_itself: false })
            }
        }
    }

    /// A file that an answer about it alone doesn't describe, because of `why`: as the listing has it, else as
    /// `guess` has it.
    pub(super) async fn listed_entry(
        self: &Arc<Self>,
        hub: &Hub,
        path: &RepoPath,
        why: Error,
        guess: Option<(CommitId, Entry)>,
    ) -> Result<(CommitId, Entry)> {
        let (repo, revision) = (&self.request.repo, &self.request.revision);
        tracing::info!(%repo, file = %path, error = %why, "looking for a file in the listing");
        let listed = async {
            let commit = hub.commit_of(repo, revision, &self.call.counters).await?;
            let entries = match self.cached_tree(&commit).await? {
                Some(entries) => entries,
                None => self.listed_tree(hub, &commit).await?,
            };
            Ok::<_, Error>((commit, entries))
        };
        match (listed.await, guess) {
            (Ok((commit, entries)), _) => {
                let entry = entries.into_iter().find(|entry| entry.path == path.as_str());
                let entry = entry.ok_or_else(|| self.no_such_file(path))?;
                Ok((commit, entry.placed()?))
            }
            // It is to be had in a while, and better than a guess.
            (Err(other), Some(_)) if other.context().hold.is_some() => Err(other),
            (Err(other), Some(guess)) => {
                tracing::warn!(
                    %repo, file = %path, error = %other,
                    "the listing can't be had, so what the answer about the file lacks is guessed"
                );
                Ok(guess)
            }
            (Err(other), None) => {
                Err(Error::cause(("a look at the file", why), ("its listing", other)))
            }
        }
    }

    fn no_such_file(&self, path: &RepoPath) -> Error {
        let (repo, revision) = (&self.request.repo, &self.request.revision);
        let message = format!("{repo} has no file {:?} at revision {revision}", path.as_str());
        Error::new(Kind::EntryNotFound, message).with(|c| {
            c.repo = Some(repo.id().to_owned());
            c.revision = Some(revision.to_string());
            c.file = Some(path.to_string());
        })
    }

    async fn cached_tree(self: &Arc<Self>, commit: &CommitId) -> Result<Option<Vec<Listed>>> {
        let (this, commit) = (Arc::clone(self), commit.clone());
        let read = move || Ok(this.target(&commit)?.read_tree()?.map(|listing| listing.entries));
        self.call.blocking("the disk to read a listing", read).await
    }

    async fn listed_tree(self: &Arc<Self>, hub: &Hub, commit: &CommitId) -> Result<Vec<Listed>> {
        let counters = &self.call.counters;
        let repo = &self.request.repo;
        let entries = match hub.tree(repo, commit, counters).await {
            Ok(entries) => entries,
            Err(why) => return hub.list_siblings(repo, commit, why, counters).await,
        };
        let (this, commit) = (Arc::clone(self), commit.clone());
        self.call
            .blocking("the disk to keep a listing", move || {
                let listing = Listing { commit, entries };
                // Only a saving for later: a folder that can't be written will fail by itself where
                // that matters.
                if let Err(error) = this.target(&listing.commit)?.write_tree(&listing) {
                    tracing::warn!(%error, "can't remember the listing");
                }
                Ok(listing.entries)
            })
            .await
    }
}
