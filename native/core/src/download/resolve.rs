//! Which files a download is about: what the Hub says of one, or its listing of all, of which each may
//! stand in where the other lacks something.

use std::collections::HashSet;
use std::sync::Arc;

use super::described::Word;
use super::request::Selection;
use super::snapshot::{Download, Resolved};
use crate::http::RetryPolicy;
use crate::hub::{Files, Hub, Looked, Names, RepoInfo};
use crate::model::error::{Error, Kind, Result};
use crate::model::refused::Refused;
use crate::model::repo::{CommitId, Entry, Listed, Listing, RepoPath};
use crate::model::told;

impl Download {
    /// Which commit, and which files of it. A commit's tree never changes, so one that is in the
    /// cache, or what this client has heard of it, saves the request.
    pub(super) async fn resolve(self: &Arc<Self>, policy: RetryPolicy) -> Result<Resolved> {
        let hub = self.session.hub.with_retry(policy);
        let counters = &self.call.counters;
        let (repo, revision) = (&self.request.repo, &self.request.revision);
        match &self.request.selection {
            Selection::File(path) => {
                let described = &self.session.described;
                if let Some(commit) = revision.as_commit() {
                    if let Some((entry, word)) = described.find(repo, &commit, path) {
                        let resolved = Resolved::one(commit, entry.placed()?);
                        return Ok(Resolved { by_itself: word == Word::Answer, ..resolved });
                    }
                    if let Some(entries) = self.cached_tree(&commit).await?
                        && let Some(entry) = entries.into_iter().find(|e| e.path == path.as_str())
                    {
                        let entry = entry.placed()?;
                        described.add(repo, &commit, &entry, Word::Listing);
                        return Ok(Resolved::one(commit, entry));
                    }
                }
                let looked = hub.look_up(repo, revision, path, counters).await?;
                let (commit, entry) = match looked {
                    Looked::Found(commit, entry) => {
                        described.add(repo, &commit, &entry, Word::Answer);
                        return Ok(Resolved { by_itself: true, ..Resolved::one(commit, entry) });
                    }
                    Looked::Lacking { why, guess } => {
                        self.listed_entry(&hub, path, why, guess).await?
                    }
                };
                Ok(Resolved::one(commit, entry))
            }
            Selection::Snapshot(patterns) => {
                let RepoInfo { commit, names } = hub.revision(repo, revision, counters).await?;
                let wanted = |path: &str| patterns.matches(path);
                let files = self.listed(&hub, &commit, names, wanted).await?;
                let count = files.entries.len() + files.refused.len() + files.passed_over.len();
                let entries: Vec<Listed> =
                    files.entries.into_iter().filter(|e| wanted(&e.path)).collect();
                let refused = Refused::default();
                for (path, error) in files.refused.into_iter().filter(|(path, _)| wanted(path)) {
                    refused.add(&path, error);
                }
                let entries = refused.sort_out(entries);
                if entries.is_empty() && count > 0 && refused.verdict().is_ok() {
                    tracing::warn!(
                        target: told::NONE_FITS, %repo,
                        "none of the {count} files matches the patterns"
                    );
                }
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
            let RepoInfo { commit, names } =
                hub.revision(repo, revision, &self.call.counters).await?;
            let files = self.listed(hub, &commit, names, |file| file == path.as_str()).await?;
            Ok::<_, Error>((commit, files))
        };
        let neither = |other| {
            let why = Error::cause(("a look at the file", why), ("its listing", other));
            why.with(|c| {
                c.file.get_or_insert_with(|| path.to_string());
            })
        };
        let (commit, files) = match (listed.await, guess) {
            (Ok(listed), _) => listed,
            // It is to be had in a while, and better than a guess.
            (Err(other), Some(_)) if other.context().hold.is_some() => return Err(other),
            (Err(other), Some(guess)) => {
                tracing::warn!(
                    %repo, file = %path, error = %other,
                    "the listing can't be had, so what the answer about the file lacks is guessed"
                );
                return Ok(guess);
            }
            (Err(other), None) => {
                let may_pass = other.is_transient();
                let why = neither(other);
                if may_pass {
                    return Err(why);
                }
                return hub.entry_by_get(repo, revision, path, why, &self.call.counters).await;
            }
        };
        if let Some(entry) = files.entries.into_iter().find(|entry| entry.path == path.as_str()) {
            return Ok((commit, entry.placed()?));
        }
        match files.refused.into_iter().find(|(refused, _)| refused == path.as_str()) {
            Some((_, error)) => Err(neither(error)),
            None => Err(self.no_such_file(path)),
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

    /// The files of a commit: those that were kept, if they are all of `names`, else as the Hub lists
    /// them.
    async fn listed(
        self: &Arc<Self>,
        hub: &Hub,
        commit: &CommitId,
        names: Names,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Files> {
        let repo = &self.request.repo;
        if let Some(entries) = self.cached_tree(commit).await? {
            if has_all(&entries, &names) {
                return Ok(Files { entries, is_whole: true, ..Files::default() });
            }
            tracing::warn!(%repo, %commit, "the listing in the cache isn't whole; asking again");
        }
        let files = hub.list(repo, commit, names, wanted, &self.call.counters).await?;
        if files.is_whole { self.keep(commit, files).await } else { Ok(files) }
    }

    /// Replaces a listing that was kept before its files moved to Xet storage, or before there was access to
    /// them, so that they come over Xet the next time.
    pub(super) async fn renew_listing(self: &Arc<Self>, commit: &CommitId) {
        let (repo, counters) = (&self.request.repo, &self.call.counters);
        self.session.described.forget(repo, commit);
        if !matches!(self.cached_tree(commit).await, Ok(Some(_))) {
            return;
        }
        // The files are here: it's worth a try.
        let hub = self.session.hub.with_retry(RetryPolicy::new(&self.session.config).once());
        let listed = hub.list(repo, commit, Names::Unasked, |_| false, counters).await;
        let renewed = match listed {
            Ok(files) if files.is_whole => self.keep(commit, files).await.map(drop),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = renewed {
            tracing::warn!(%repo, %commit, %error, "can't renew an old listing");
        }
    }

    async fn keep(self: &Arc<Self>, commit: &CommitId, files: Files) -> Result<Files> {
        let (this, commit) = (Arc::clone(self), commit.clone());
        self.call
            .blocking("the disk to keep a listing", move || {
                let listing = Listing { commit, entries: files.entries };
                // Only a saving for later: a folder that can't be written will fail by itself where
                // that matters.
                if let Err(error) = this.target(&listing.commit)?.write_tree(&listing) {
                    tracing::warn!(%error, "can't remember the listing");
                }
                Ok(Files { entries: listing.entries, ..files })
            })
            .await
    }
}

/// Whether a listing has all files of which the names are known.
fn has_all(entries: &[Listed], names: &Names) -> bool {
    let Names::Known(names) = names else { return true };
    let listed: HashSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    names.iter().all(|name| listed.contains(name.as_str()))
}
