//! Buckets: files by path, without a history, whose content is in the CAS.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};
use xet_core_structures::merklehash::MerkleHash;

use super::journal::{sync_dir, write_atomic};
use super::state::now_millis;
use crate::sync::{read, write};

/// The buckets of a data directory.
#[derive(Debug)]
pub(crate) struct Buckets {
    dir: PathBuf,
    all: RwLock<BTreeMap<String, Arc<Bucket>>>,
}

/// A bucket, in a file of its own.
#[derive(Debug)]
pub(crate) struct Bucket {
    path: PathBuf,
    state: RwLock<BucketState>,
}

/// All of a bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BucketState {
    /// `namespace/name`.
    pub(crate) id: String,
    /// The user who created it.
    pub(crate) owner: String,
    pub(crate) private: bool,
    /// When it was created, in milliseconds after the Unix epoch.
    pub(crate) created: u64,
    pub(crate) files: BTreeMap<String, BucketFile>,
}

/// A file of a bucket. Times are in milliseconds after the Unix epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BucketFile {
    /// The Xet file hash, 64 hex digits.
    pub(crate) hash: String,
    /// Length in bytes.
    pub(crate) size: u64,
    /// When it was modified, as its author says.
    pub(crate) mtime: u64,
    /// When it came.
    pub(crate) uploaded: u64,
}

impl Buckets {
    /// Opens the buckets below `data`.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let dir = data.join("buckets");
        let mut all = BTreeMap::new();
        std::fs::create_dir_all(&dir)?;
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let state: BucketState = serde_json::from_slice(&std::fs::read(&path)?)?;
                let id = state.id.clone();
                all.insert(id, Arc::new(Bucket { path, state: RwLock::new(state) }));
            }
        }
        Ok(Self { dir, all: RwLock::new(all) })
    }

    /// The bucket of this name.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Bucket>> {
        read(&self.all).get(id).cloned()
    }

    /// Creates a bucket, durable before this returns; `false` if the name is taken.
    pub(crate) fn create(&self, id: &str, owner: &str, private: bool) -> io::Result<bool> {
        let mut all = write(&self.all);
        if all.contains_key(id) {
            return Ok(false);
        }
        let (id, owner, files) = (id.to_owned(), owner.to_owned(), BTreeMap::new());
        let state = BucketState { id: id.clone(), owner, private, created: now_millis(), files };
        let path = self.dir.join(format!("{}.json", uuid::Uuid::new_v4().simple()));
        write_atomic(&path, &serde_json::to_vec(&state)?)?;
        all.insert(id, Arc::new(Bucket { path, state: RwLock::new(state) }));
        Ok(true)
    }

    /// Deletes a bucket.
    pub(crate) fn delete(&self, id: &str) -> io::Result<()> {
        let mut all = write(&self.all);
        if let Some(bucket) = all.remove(id) {
            std::fs::remove_file(&bucket.path)?;
        }
        sync_dir(&self.dir)
    }
}

impl Bucket {
    /// The state, for reading. Don't keep it across an `await`.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, BucketState> {
        read(&self.state)
    }

    /// Makes a change of its files: on disk first, then in memory.
    pub(crate) fn change(
        &self,
        edit: impl FnOnce(&mut BTreeMap<String, BucketFile>),
    ) -> io::Result<()> {
        let mut state = write(&self.state);
        let mut changed = state.clone();
        edit(&mut changed.files);
        write_atomic(&self.path, &serde_json::to_vec(&changed)?)?;
        *state = changed;
        Ok(())
    }
}

impl BucketState {
    /// The path below `/api/`, which no repository has.
    pub(crate) fn api_path(&self) -> String {
        api_path(&self.id)
    }

    /// Whether one of its files has this content.
    pub(crate) fn has(&self, file: &MerkleHash) -> bool {
        let hash = file.hex();
        self.files.values().any(|file| file.hash == hash)
    }
}

/// That of the bucket `id`.
pub(crate) fn api_path(id: &str) -> String {
    format!("buckets/{id}")
}
