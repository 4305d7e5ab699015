//! The listing of a mirror that has no tree: the names of the files from the repo's info, as
//! `HfApi.repo_info` has them, and each file by itself.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{Hub, routes};
use crate::call::progress::Counters;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Listed, Repo, RepoPath, Revision, Storage};

/// Files that are asked about side by side.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Info {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    path: String,
}

impl Hub {
    /// All files of a commit, where the tree couldn't be had because of `why`: if the server has none.
    /// Not to be kept for others: a mirror's word about a file may be one about its own copy.
    pub(crate) async fn list_siblings(
        &self,
        repo: &Repo,
        commit: &CommitId,
        why: Error,
        counters: &Counters,
    ) -> Result<Vec<Listed>> {
        if !lacks_route(&why) {
            return Err(why);
        }
        let about = self.about(repo, commit.as_str(), None);
        let url = routes::revision(&self.config.endpoint, repo, commit.as_str());
        let what = format!("list the names of the files of {repo}");
        let info: Result<(Info, _)> = self.call_json(&about, &what, counters, url).await;
        let names = match info {
            Ok((info, _)) => info.siblings,
            Err(other) if lacks_route(&other) || other.kind() == Kind::InvalidResponse => {
                return Err(lacking(&why, &other));
            }
            Err(other) => return Err(other),
        };
        tracing::info!(%repo, files = names.len(), "no tree here; asking for each file ({why})");
        let revision = Revision::new(commit.as_str())?;
        let (revision, repo) = (&revision, repo);
        let ask = |name: Sibling| async move {
            let Ok(path) = RepoPath::new(&name.path) else { return Ok(unknown(name.path)) };
            let (_, entry) = self.file_entry(repo, revision, &path, counters).await?;
            Ok(Listed::from(entry))
        };
        stream::iter(names).map(ask).buffered(AT_ONCE).try_collect().await
    }
}

/// A file that can't be asked for, nor written: all that is known is its name.
fn unknown(path: String) -> Listed {
    Listed { path, size: 0, oid: "0".repeat(40), storage: Storage::Git }
}

/// Whether a server doesn't know what it's asked for, rather than whom it's asked about.
fn lacks_route(error: &Error) -> bool {
    let status = error.context().http_status;
    matches!(
        error.kind(),
        Kind::NotFound | Kind::BadRequest | Kind::InvalidResponse | Kind::ServerError
    ) && matches!(status, Some(400 | 404 | 405 | 410 | 501))
}

/// The error for a mirror that has neither.
fn lacking(why: &Error, other: &Error) -> Error {
    let message = format!(
        "the mirror has neither a listing of the files (api/.../tree: {}) nor their names \
         (api/.../revision, \"siblings\": {}); download them one by one, or from another endpoint",
        why.message(),
        other.message()
    );
    let context = why.context().clone();
    Error::new(Kind::InvalidResponse, message).with(|c| *c = context)
}
