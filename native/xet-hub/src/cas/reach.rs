//! What a token reaches: files of one repository, although the content of all lies in one store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use xet_core_structures::merklehash::MerkleHash;

use crate::app::App;
use crate::errors::ApiError;
use crate::ids::RepoKey;
use crate::sign::{Scope, XetToken};
use crate::store::Found;
use crate::store::bucket::Bucket;
use crate::store::repo::Repo;
use crate::store::state::State;
use crate::sync::{read, write};

/// How long a file counts as uploaded that no commit has, at least.
const LIFETIME: Duration = Duration::from_hours(24);

/// Which files were uploaded to which repository not long ago, by the repository's id. A commit may not have them
/// yet.
#[derive(Debug)]
pub(super) struct Uploads(RwLock<Generations>);

/// The young ones become old together, and then they go.
#[derive(Debug)]
struct Generations {
    since: Instant,
    young: Files,
    old: Files,
}

type Files = HashMap<String, HashSet<MerkleHash>>;

impl Default for Uploads {
    fn default() -> Self {
        let (young, old) = (Files::new(), Files::new());
        Self(RwLock::new(Generations { since: Instant::now(), young, old }))
    }
}

impl Uploads {
    pub(super) fn add(&self, repo: &str, files: impl Iterator<Item = MerkleHash>) {
        write(&self.0).add(repo, files, Instant::now());
    }

    fn has(&self, repo: &str, file: &MerkleHash) -> bool {
        read(&self.0).has(repo, file)
    }
}

impl Generations {
    fn add(&mut self, repo: &str, files: impl Iterator<Item = MerkleHash>, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= LIFETIME {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        if age >= LIFETIME * 2 {
            self.old.clear();
        }
        self.young.entry(repo.to_owned()).or_default().extend(files);
    }

    fn has(&self, repo: &str, file: &MerkleHash) -> bool {
        [&self.young, &self.old]
            .iter()
            .filter_map(|files| files.get(repo))
            .any(|f| f.contains(file))
    }
}

/// Who has files.
pub(super) enum Holder {
    Repo(Arc<Repo>),
    Bucket(Arc<Bucket>),
}

impl Holder {
    /// What uploads are kept by.
    pub(super) fn uid(&self) -> String {
        match self {
            Self::Repo(repo) => repo.uid.clone(),
            Self::Bucket(bucket) => bucket.state().api_path(),
        }
    }

    fn has(&self, revision: &str, file: &MerkleHash) -> bool {
        match self {
            Self::Repo(repo) => has(&repo.state(), revision, file),
            Self::Bucket(bucket) => bucket.state().has(file),
        }
    }
}

impl super::Cas {
    /// Whether a file was uploaded to the holder with this id not long ago.
    pub(crate) fn is_uploaded(&self, uid: &str, file: &MerkleHash) -> bool {
        self.uploads.has(uid, file)
    }
}

impl App {
    /// What a token is for, whatever its name is now.
    pub(super) fn holder(&self, token: &XetToken) -> Result<Holder, ApiError> {
        let bucket = token.repo.strip_prefix("buckets/").and_then(|id| self.buckets.find(id));
        if let Some(bucket) = bucket {
            return Ok(Holder::Bucket(bucket));
        }
        let found = RepoKey::from_api_path(&token.repo).and_then(|key| self.store.find(&key));
        match found {
            Some(Found::Repo(repo) | Found::Renamed(repo)) => Ok(Holder::Repo(repo)),
            None => Err(ApiError::forbidden("This Xet token's repository is gone")),
        }
    }

    /// Checks that a token is good for a file: one that its repository has at its revision. With the
    /// right to write, also one that was uploaded to it.
    pub(super) async fn check_reach(
        &self,
        token: &XetToken,
        file: &MerkleHash,
    ) -> Result<(), ApiError> {
        let holder = self.holder(token)?;
        let is_uploaded = token.scope >= Scope::Write && self.cas.is_uploaded(&holder.uid(), file);
        if is_uploaded || holder.has(&token.revision, file) {
            return Ok(());
        }
        // What no repository has is missing, whoever asks.
        self.cas.file_info(file).await?;
        let (file, repo, revision) = (file.hex(), &token.repo, &token.revision);
        let why = format!("This Xet token is for {repo} at {revision}, which doesn't have {file}");
        Err(ApiError::forbidden(why))
    }
}

/// Whether a repository has a file of the CAS at a revision.
fn has(state: &State, revision: &str, file: &MerkleHash) -> bool {
    let commit = state.resolve(revision).and_then(|seq| state.commits.get(seq));
    commit.is_some_and(|commit| commit.xet_files().contains(file))
        || state.planted.iter().any(|planted| planted.content.xet_hash() == Some(*file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that was uploaded is there for a while, and isn't kept for ever.
    #[test]
    fn uploads_have_an_age() {
        let start = Instant::now();
        let (young, old) = (Files::new(), Files::new());
        let mut uploads = Generations { since: start, young, old };
        let files = [1, 2, 3, 4].map(|n| MerkleHash::from([n; 4]));
        for (file, age) in files.iter().zip([0, 1, 2, 9]) {
            uploads.add("a", [*file].into_iter(), start + LIFETIME * age);
            assert!(uploads.has("a", file) && !uploads.has("b", file));
            let kept = uploads.young.len() + uploads.old.len();
            assert!(kept <= 2);
            match age {
                1 => assert!(uploads.has("a", &files[0])),
                2 => assert!(!uploads.has("a", &files[0]) && uploads.has("a", &files[1])),
                9 => assert!(uploads.old.is_empty()),
                _ => {}
            }
        }
    }
}
