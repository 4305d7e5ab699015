//! Files that are copied within a repo.

use futures_util::TryStreamExt;

use super::borrowed::Borrowed;
use super::change::Change;
use super::content::UploadContent;
use super::deletions::Deletions;
use super::run::Upload;
use crate::model::content::ContentHasher;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Listed, RepoPath, Revision, Storage};

impl Upload {
    /// What copies lead to. Small files have to be fetched and sent again; the Hub has no word for
    /// "the same as there".
    pub(super) async fn copies(
        &self,
        copies: Vec<(RepoPath, Option<Revision>, RepoPath)>,
        deletions: &Deletions,
    ) -> Result<Vec<Change>> {
        let (repo, counters) = (&self.options.repo, &self.call.counters);
        let mut changes = Vec::with_capacity(copies.len());
        for (from, revision, to) in copies {
            let revision = revision.unwrap_or_else(|| self.options.revision.clone());
            let commit = self.hub.commit_of(repo, &revision, counters).await?;
            let entry = self.entry_at(commit.as_str(), &from).await?;
            let entry = entry.ok_or_else(|| missing(&from, &revision, repo.id()))?;
            let there = self.entry_at(self.options.revision.as_str(), &to).await?;
            if !deletions.covers(&to) && there.is_some_and(|other| other.oid == entry.oid) {
                continue;
            }
            changes.push(match entry.storage.clone() {
                Storage::Lfs { sha256 } | Storage::Xet { sha256, .. } => {
                    Change::Stored { path: to, sha256, size: Some(entry.size) }
                }
                Storage::Git => {
                    let bytes = self.fetch(&commit, &entry).await?;
                    let content = UploadContent::of_memory(Borrowed::owned(bytes));
                    Change::Regular { path: to, content }
                }
                Storage::XetAlone { .. } => {
                    return Err(Error::internal("a listing without the SHA-256 of a file"));
                }
            });
        }
        Ok(changes)
    }

    async fn entry_at(&self, revision: &str, path: &RepoPath) -> Result<Option<Entry>> {
        let paths = [path.as_str()];
        let (repo, counters) = (&self.options.repo, &self.call.counters);
        let found = self.hub.paths_info(repo, revision, &paths, counters).await?;
        found.into_iter().find(|entry| entry.path == path.as_str()).map(Listed::placed).transpose()
    }

    /// The content of a small file, which must be what the Hub has published.
    async fn fetch(&self, commit: &CommitId, entry: &Entry) -> Result<bytes::Bytes> {
        let (repo, counters) = (&self.options.repo, &self.call.counters);
        let (path, size) = (&entry.path, entry.size);
        let mut stream = self.hub.open_file(repo, commit, entry, 0, None, counters).await?.stream;
        let mut hasher = ContentHasher::new(entry);
        let mut bytes = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > size {
                break;
            }
        }
        if bytes.len() as u64 == size {
            hasher.verify(entry)?;
            return Ok(bytes.into());
        }
        let message = format!("{path}: {} bytes came instead of {size}", bytes.len());
        Err(Error::new(Kind::Connection, message).with(|c| c.file = Some(path.to_string())))
    }
}

fn missing(path: &RepoPath, revision: &Revision, repo: &str) -> Error {
    let message = format!("can't copy {path}: {repo} has no such file at revision {revision}");
    Error::new(Kind::EntryNotFound, message).with(|c| c.file = Some(path.to_string()))
}
