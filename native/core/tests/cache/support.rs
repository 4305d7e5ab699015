//! Entries with real hashes, and a cache in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};
use sha2::Sha256;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use xet_core_structures::merklehash::compute_data_hash;
use xet_ffi_core::cache::{Cache, LocalDir, RepoCache, Target};
use xet_ffi_core::model::repo::{CommitId, Entry, Repo, RepoPath, RepoType, Revision, Storage};
use xet_ffi_core::sys::lock::FileLock;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

pub(crate) fn revision(text: &str) -> Revision {
    Revision::new(text).unwrap()
}

pub(crate) fn commit(digit: char) -> CommitId {
    CommitId::parse(&digit.to_string().repeat(40)).unwrap()
}

pub(crate) fn model(id: &str) -> Repo {
    Repo::new(RepoType::Model, id).unwrap()
}

fn blob_id(content: &[u8]) -> String {
    hex(&Sha1::new()
        .chain_update(format!("blob {}\0", content.len()))
        .chain_update(content)
        .finalize())
}

/// An entry for a file that is kept in git.
pub(crate) fn git(at: &str, content: &[u8]) -> Entry {
    let (size, oid) = (content.len() as u64, blob_id(content));
    Entry { path: path(at), size, oid, storage: Storage::Git }
}

/// An entry for a file that is kept in Xet storage.
pub(crate) fn xet(at: &str, content: &[u8]) -> Entry {
    let sha256 = hex(&Sha256::digest(content));
    // The hash of a one-chunk file isn't this, but it's unique for the content, which will do.
    let storage = Storage::Xet { sha256, hash: compute_data_hash(content) };
    Entry { path: path(at), size: content.len() as u64, oid: "0".repeat(40), storage }
}

/// An empty cache.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) cache: Cache,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(true, true)
    }

    pub(crate) fn with(symlinks: bool, shared_blobs: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("hub"), symlinks, shared_blobs);
        Self { folder, cache }
    }

    pub(crate) fn repo(&self) -> RepoCache {
        self.cache.repo(&model("org/name"))
    }

    pub(crate) fn snapshot(&self) -> Target {
        Target::Cache { repo: self.repo(), commit: commit('a') }
    }

    pub(crate) fn dir(&self) -> LocalDir {
        LocalDir::new(&self.folder.path().join("local"), &self.cache).unwrap()
    }

    pub(crate) fn local(&self, commit: CommitId) -> Target {
        Target::LocalDir { dir: self.dir(), repo: self.repo(), commit }
    }
}

pub(crate) fn lock(target: &Target, entry: &Entry) -> FileLock {
    FileLock::try_acquire(&target.lock_path(entry).unwrap()).unwrap().expect("the lock is free")
}

/// Fills the partial file and installs it, as a download does. `share` as if through Xet.
pub(crate) fn download(target: &Target, entry: &Entry, content: &[u8]) -> PathBuf {
    let lock = lock(target, entry);
    let partial = target.partial_path(entry, &lock).unwrap();
    fs::write(&partial, content).unwrap();
    target.install(entry, &partial, entry.xet_hash().is_some(), true).unwrap()
}

pub(crate) fn adopt(target: &Target, entry: &Entry) -> Option<PathBuf> {
    target.adopt(entry, &lock(target, entry), &CancellationToken::new()).unwrap()
}

/// All files and links below a folder, as paths from there, sorted.
pub(crate) fn list(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, all: &mut Vec<String>) {
        for item in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            let name = format!("{prefix}{}", item.file_name().into_string().unwrap());
            if item.file_type().unwrap().is_dir() {
                walk(&item.path(), &format!("{name}/"), all);
            } else {
                all.push(name);
            }
        }
    }
    let mut all = Vec::new();
    walk(folder, "", &mut all);
    all.sort();
    all
}
