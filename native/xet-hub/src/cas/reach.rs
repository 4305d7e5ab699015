//! What a token reaches: files of one repository, although the content of all lies in one store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use xet_core_structures::merklehash::MerkleHash;

use crate::app::App;
use crate::errors::ApiError;
use crate::ids::RepoKey;
use crate::sign::{Scope, XetToken};
use crate::store::Found;
use crate::store::repo::Repo;
use crate::store::state::State;
use crate::store::tree::Content;
use crate::sync::{read, write};

/// Which files were uploaded to which repository since the start, by the repository's id. A commit may
/// not have them yet.
#[derive(Debug, Default)]
pub(super) struct Uploads(RwLock<HashMap<String, HashSet<MerkleHash>>>);

impl Uploads {
    pub(super) fn add(&self, repo: &str, files: impl Iterator<Item = MerkleHash>) {
        write(&self.0).entry(repo.to_owned()).or_default().extend(files);
    }

    fn has(&self, repo: &str, file: &MerkleHash) -> bool {
        read(&self.0).get(repo).is_some_and(|files| files.contains(file))
    }
}

impl App {
    /// The repository that a token is for, whatever its name is now.
    pub(super) fn repo_of(&self, token: &XetToken) -> Result<Arc<Repo>, ApiError> {
        let found = RepoKey::from_api_path(&token.repo).and_then(|key| self.store.find(&key));
        match found {
            Some(Found::Repo(repo) | Found::Renamed(repo)) => Ok(repo),
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
        let repo = self.repo_of(token)?;
        let is_uploaded = token.scope >= Scope::Write && self.cas.uploads.has(&repo.uid, file);
        if is_uploaded || has(&repo.state(), &token.revision, &file.hex()) {
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
fn has(state: &State, revision: &str, file: &str) -> bool {
    let is = |content: &Content| matches!(content, Content::Large { xet: Some(hash), .. } if hash == file);
    let commit = state.resolve(revision).and_then(|seq| state.commits.get(seq));
    commit.is_some_and(|commit| commit.tree.has(&is))
        || state.planted.iter().any(|planted| is(&planted.content))
}
