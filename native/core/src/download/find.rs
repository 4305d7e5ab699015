//! Which file a request is for, and where it is if it's on this machine, without a download of it.

use std::path::PathBuf;
use std::sync::Arc;

use super::snapshot::{Download, Found, Resolved};
use crate::cache::{Hold, Target};
use crate::call::file_transfer::PublishedHash;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry};
use crate::sys::files;

/// The one file of a request.
pub(crate) struct FoundFile {
    /// What the revision stands for.
    pub(crate) commit: CommitId,
    /// As the Hub describes it; `None`: it wasn't asked, and the file is here.
    pub(crate) entry: Option<Entry>,
    /// Where it is on this machine, whole.
    pub(crate) path: Option<PathBuf>,
    /// What the cache knows it by, where nobody describes it.
    pub(crate) hash: Option<PublishedHash>,
}

impl Download {
    /// Finds the file that the request, which is for one in the cache, is about. Writes nothing.
    pub(crate) async fn find(self) -> Result<FoundFile> {
        let this = Arc::new(self);
        let found = this.find_file().await;
        found.map_err(|error| this.repo_cache.cache().explain(error))
    }

    async fn find_file(self: &Arc<Self>) -> Result<FoundFile> {
        let _hold = Hold::take(&self.repo_cache, false, &self.call).await?;
        let found = if self.request.local_files_only {
            Found::Here(self.locally(None).await?)
        } else if self.is_immutable_file() {
            match self.locally(None).await {
                Ok(placed) => Found::Here(placed),
                Err(error) if error.kind() == Kind::LocalEntryNotFound => {
                    self.resolve_or_locate().await?
                }
                Err(error) => return Err(error),
            }
        } else {
            self.resolve_or_locate().await?
        };
        match found {
            Found::Here(placed) => {
                let transfer = placed.file_transfers.into_iter().next();
                let (commit, path) = (placed.commit, Some(placed.path));
                let hash = transfer.and_then(|transfer| transfer.hash);
                Ok(FoundFile { commit, entry: None, path, hash })
            }
            Found::OnHub(Resolved { commit, entries, .. }) => {
                let entry = entries.into_iter().next();
                let entry = entry.ok_or_else(|| Error::internal("one file that is none"))?;
                let path = self.place_of(&commit, &entry).await?;
                Ok(FoundFile { commit, entry: Some(entry), path, hash: None })
            }
        }
    }

    /// Where the cache has the content of a file of this repo, of whatever commit.
    async fn place_of(
        self: &Arc<Self>,
        commit: &CommitId,
        entry: &Entry,
    ) -> Result<Option<PathBuf>> {
        let (this, commit, entry) = (Arc::clone(self), commit.clone(), entry.clone());
        let look = move || {
            let repo = this.repo_cache.clone();
            let target = Target::Cache { repo, commit };
            if let Some(path) = target.find_current(&entry)? {
                return Ok(Some(path));
            }
            let blob = this.repo_cache.blob_path(&entry)?;
            let is_whole = files::file_size(&blob)? == Some(entry.size);
            Ok(is_whole.then_some(blob))
        };
        self.call.blocking("a look at what is on this machine", look).await
    }
}
