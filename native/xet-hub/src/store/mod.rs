//! All repositories of a data directory.
//!
//! ```text
//! LOCK                         held by the running server
//! secret                       32 random bytes that sign URLs and Xet tokens
//! users.json                   users and the hashes of their tokens
//! repos/<uid>/journal.ndjson   every acknowledged change, see `state::Record`
//! repos/<uid>/blobs.pack       bytes of plain files
//! buckets/<uid>.json           each bucket, with its list of files
//! lfs/<xx>/<sha256>            objects uploaded over LFS
//! cas/xorbs, cas/shards        the CAS, as xet-core's simulation lays it out
//! staging/                     uploads in progress, emptied at start
//! ```

pub(crate) mod bucket;
pub(crate) mod journal;
pub(crate) mod lfs;
pub(crate) mod repo;
pub(crate) mod state;
#[cfg(test)]
mod tests;
pub(crate) mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use crate::ids::RepoKey;
use crate::sync::{read, write};
use journal::sync_dir;
use repo::{ChangeError, OpenError, Repo};
use state::{Record, Settings};

/// The repositories of one server.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    names: RwLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    repos: HashMap<RepoKey, Arc<Repo>>,
    former: HashMap<RepoKey, Arc<Repo>>,
}

impl Names {
    fn add(&mut self, repo: &Arc<Repo>) {
        let state = repo.state();
        for former in &state.former {
            self.former.insert(former.clone(), Arc::clone(repo));
        }
        self.repos.insert(state.key.clone(), Arc::clone(repo));
    }

    /// The repository whose name is `key` but for upper and lower case.
    fn in_any_case(&self, key: &RepoKey) -> Option<&Arc<Repo>> {
        let same =
            |found: &RepoKey| found.kind == key.kind && found.id.eq_ignore_ascii_case(&key.id);
        self.repos.iter().find(|(found, _)| same(found)).map(|(_, repo)| repo)
    }
}

/// What a name stands for.
pub(crate) enum Found {
    /// A repository of this name.
    Repo(Arc<Repo>),
    /// A repository that had this name and now has another one, or this one in another case.
    Renamed(Arc<Repo>),
}

/// A repository to be created.
pub(crate) struct NewRepo {
    /// Its name.
    pub(crate) key: RepoKey,
    /// The user who creates it.
    pub(crate) owner: String,
    /// Its switches.
    pub(crate) settings: Settings,
    /// The plain files of its first commit.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

impl Store {
    /// Opens the repositories below `data`.
    pub(crate) fn open(data: &Path) -> Result<Self, OpenError> {
        let dir = data.join("repos");
        std::fs::create_dir_all(&dir)?;
        let mut names = Names::default();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let uid = entry.file_name().to_string_lossy().into_owned();
            if uid.starts_with('.') {
                // Half created or half deleted when the last server was killed.
                std::fs::remove_dir_all(entry.path())?;
                continue;
            }
            names.add(&Arc::new(Repo::open(&entry.path(), uid)?));
        }
        Ok(Self { dir, names: RwLock::new(names) })
    }

    /// Looks a name up. A current name wins over a former one, and this over one in another case.
    pub(crate) fn find(&self, key: &RepoKey) -> Option<Found> {
        let names = read(&self.names);
        if let Some(repo) = names.repos.get(key) {
            return Some(Found::Repo(Arc::clone(repo)));
        }
        let renamed = names.former.get(key).or_else(|| names.in_any_case(key));
        renamed.map(|repo| Found::Renamed(Arc::clone(repo)))
    }

    /// All repositories, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Repo>> {
        let mut all: Vec<_> =
            read(&self.names).repos.iter().map(|(k, r)| (k.clone(), Arc::clone(r))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter().map(|(_, repo)| repo).collect()
    }

    /// Creates a repository, durable before this returns; `None` if the name is taken.
    pub(crate) fn create(&self, new: NewRepo) -> Result<Option<Arc<Repo>>, OpenError> {
        let mut names = write(&self.names);
        if names.in_any_case(&new.key).is_some() {
            return Ok(None);
        }
        let uid = uuid::Uuid::new_v4().simple().to_string();
        let (half, whole) = (self.dir.join(format!(".new-{uid}")), self.dir.join(&uid));
        Repo::create(&half, new)?;
        std::fs::rename(&half, &whole)?;
        sync_dir(&self.dir)?;
        let repo = Arc::new(Repo::open(&whole, uid)?);
        names.add(&repo);
        Ok(Some(repo))
    }

    /// Deletes a repository.
    pub(crate) fn delete(&self, repo: &Repo) -> std::io::Result<()> {
        let mut names = write(&self.names);
        let half = self.dir.join(format!(".old-{}", repo.uid));
        std::fs::rename(repo.dir(), &half)?;
        sync_dir(&self.dir)?;
        names.repos.retain(|_, found| found.uid != repo.uid);
        names.former.retain(|_, found| found.uid != repo.uid);
        std::fs::remove_dir_all(half)
    }

    /// Gives a repository a new name; `false` if it is taken.
    pub(crate) fn rename(&self, repo: &Arc<Repo>, key: RepoKey) -> Result<bool, ChangeError> {
        let mut names = write(&self.names);
        if names.repos.contains_key(&key) {
            return Ok(false);
        }
        let old = repo.state().key.clone();
        repo.record(vec![Record::Renamed { key }])?;
        names.repos.remove(&old);
        names.add(repo);
        Ok(true)
    }
}
