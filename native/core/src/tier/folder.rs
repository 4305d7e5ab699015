//! A shared cache in a folder, on a disk that all nodes see.
//!
//! A piece is a file, written under another name first. It isn't flushed to the disk: one that a crash has cut is
//! damaged, and costs bytes. Nothing here makes room: what may go is a matter of age, for whoever looks after the disk.
//!
//! A lease is a file beside that, with its owner's token. It's touched while he lives. The clocks of nodes aren't
//! compared: one that somebody has seen unchanged for as long as it lasts, by his own clock, is given up. Two who find
//! that at the same moment both have it, and fetch the same.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::keys::Name;
use super::piece::LARGEST;
use super::store::{Failure, Store};

/// Operations at a time. One on a disk that hangs keeps its thread for as long as that does: the rest of the process
/// must find others.
const AT_ONCE: usize = 8;

/// As other files are made: for whom the process's mask allows.
const MODE: u32 = 0o666;

/// Leases of others that are watched, at most: more were given up long ago.
const WATCHED: usize = 4096;

/// A folder that is a store.
pub(super) struct Folder {
    root: PathBuf,
    turns: Arc<Semaphore>,
    /// Leases of others as they were seen last, and since when.
    watched: Arc<Mutex<HashMap<PathBuf, (Stamp, Instant)>>>,
}

/// What changes when a lease is renewed, or is another's.
type Stamp = (Vec<u8>, Option<SystemTime>);

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, turns: Arc::new(Semaphore::new(AT_ONCE)), watched: Arc::default() }
    }

    fn path(&self, name: &Name) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(name.path());
        path
    }

    fn lease(&self, name: &Name) -> PathBuf {
        self.path(name).with_extension("lease")
    }

    /// Runs `job` where it may block.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(Failure::new)?;
        let job = move || {
            let _turn = turn;
            job()
        };
        tokio::task::spawn_blocking(job).await.map_err(Failure::new)?.map_err(|error| {
            match error.kind() {
                ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::PermissionDenied => Failure::of_writes(error),
                _ => Failure::new(error),
            }
        })
    }
}

#[async_trait]
impl Store for Folder {
    async fn present(&self, names: &[Name]) -> Result<Vec<bool>, Failure> {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        let present = self.run(move || paths.iter().map(|path| path.try_exists()).collect()).await;
        present.map_err(of_all)
    }

    async fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.path(name);
        self.run(move || read(&path)).await.map_err(of_all)
    }

    async fn put(&self, name: &Name, value: Vec<u8>) -> Result<(), Failure> {
        let (root, path) = (self.root.clone(), self.path(name));
        self.run(move || make_way(&root, &path).and_then(|()| write(&path, &value))).await
    }

    async fn remove(&self, name: &Name) -> Result<(), Failure> {
        let path = self.path(name);
        self.run(move || remove(&path)).await
    }

    async fn claim(&self, name: &Name, token: &str, lasts: Duration) -> Result<bool, Failure> {
        let (path, token, watched) =
            (self.lease(name), token.as_bytes().to_vec(), Arc::clone(&self.watched));
        let root = self.root.clone();
        let claim = move || {
            make_way(&root, &path)?;
            match File::create_new(&path) {
                Ok(mut made) => return made.write_all(&token).map(|()| true),
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                Err(_) => {}
            }
            let Some(stamp) = stamp(&path)? else { return Ok(false) };
            // Each change leaves it whole.
            let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
            let is_given_up = watched
                .get(&path)
                .is_some_and(|(seen, since)| *seen == stamp && since.elapsed() >= lasts);
            if is_given_up {
                watched.remove(&path);
                return write(&path, &token).map(|()| true);
            }
            if watched.len() >= WATCHED {
                watched.clear();
            }
            let entry = watched.entry(path).or_insert_with(|| (stamp.clone(), Instant::now()));
            if entry.0 != stamp {
                *entry = (stamp, Instant::now());
            }
            Ok(false)
        };
        self.run(claim).await
    }

    async fn renew(&self, name: &Name, token: &str, _: Duration) -> Result<(), Failure> {
        let (path, token) = (self.lease(name), token.as_bytes().to_vec());
        let renew = move || match stamp(&path)? {
            Some((owner, _)) if owner == token => {
                File::options().write(true).open(&path)?.set_modified(SystemTime::now())
            }
            _ => Ok(()),
        };
        self.run(renew).await
    }

    async fn release(&self, name: &Name, token: &str) -> Result<(), Failure> {
        let (path, token) = (self.lease(name), token.as_bytes().to_vec());
        let release = move || match stamp(&path)? {
            Some((owner, _)) if owner == token => remove(&path),
            _ => Ok(()),
        };
        self.run(release).await
    }
}

/// The content of a file; `None`: there is none. One that is too large for a piece isn't read.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > LARGEST as u64 => {
            Ok(Some(Vec::new()))
        }
        Ok(_) => fs::read(path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the folders of a path below `root`, which has to be there: without its disk, nothing goes to this machine's.
fn make_way(root: &Path, path: &Path) -> io::Result<()> {
    fs::metadata(root)?;
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// What is known of a store that can't be read.
fn of_all(failure: Failure) -> Failure {
    Failure { is_of_writes: false, ..failure }
}

fn write(path: &Path, value: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut aside = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    aside.write_all(value)?;
    aside.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Who has a lease, and since when it's as it is; `None`: nobody.
fn stamp(path: &Path) -> io::Result<Option<Stamp>> {
    let Some(owner) = read(path)? else { return Ok(None) };
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some((owner, metadata.modified().ok()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
