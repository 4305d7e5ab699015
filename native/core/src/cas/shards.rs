//! The shards in the Xet cache: which chunks storage has, as xet-core notes it.
//!
//! xet-core believes what it reads there: it makes room for as much as a file says, and uses what it finds
//! without a look at its hash. So each file is looked at first, once until it changes; what isn't what its
//! name says goes. And what xet-core has read is handed on from one upload of a client to the next, or each
//! would read all of it again.

mod missing;
mod whole;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Cursor, Read as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::RwLock;
use xet_core_structures::error::CoreError;
use xet_core_structures::merklehash::{HashedWrite, MerkleHash};
use xet_core_structures::metadata_shard::utils::parse_shard_filename;
use xet_core_structures::metadata_shard::{ShardFileCache, ShardFileManager, new_shard_file_cache};
use xet_runtime::core::XetContext;

pub(crate) use self::missing::MissingXorbs;
use crate::call::Call;
use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::open::Wary;

/// Larger than any that xet-core writes.
const LARGEST: u64 = 256 << 20;
/// Shards of this size together are read again each time: what xet-core keeps of them would be too much to
/// hold on to between two uploads. That they are sound is known all the same.
const KEPT: u64 = 16 << 20;

/// What an upload has learnt of the shards, for the next one. For any thread.
#[derive(Default)]
pub(crate) struct KnownShards {
    read: Mutex<Option<Read>>,
    checked: Arc<Checked>,
    /// How often shards were found to be false, which whoever has read them before still believes.
    forgotten: AtomicU32,
}

/// What was read of shards, while one upload uses it.
///
/// An upload that is cancelled or fails may leave xet-core's part in a state that it never gets out of, so
/// it's handed on by [`KnownShards::keep`] only, after success.
pub(crate) struct Read {
    managers: Managers,
    files: ShardFileCache,
    checked: Arc<Checked>,
    size: u64,
    /// [`KnownShards::forgotten`] when it was taken.
    forgotten: u32,
}

type Managers = Arc<RwLock<HashMap<PathBuf, Arc<ShardFileManager>>>>;

/// What was looked at and found sound, or is left where it is, for whoever looks next; also if an upload fails.
#[derive(Default)]
struct Checked(Mutex<HashMap<PathBuf, Sign>>);

impl Checked {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Sign>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tells a file from what it was: inode, size, and the times of the last write and the last change.
type Sign = (u64, u64, [i64; 4]);

impl KnownShards {
    /// What the last upload has left, or nothing: another upload may have it.
    pub(crate) fn take(&self) -> Read {
        let kept = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.unwrap_or_else(|| Read {
            managers: Arc::default(),
            files: new_shard_file_cache(),
            checked: Arc::clone(&self.checked),
            size: 0,
            forgotten: self.forgotten.load(Ordering::Relaxed),
        })
    }

    /// Some of it was found to be false: the next upload reads again what is there.
    pub(crate) fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// For the next upload.
    pub(crate) fn keep(&self, read: Read) {
        if read.size <= KEPT && read.forgotten == self.forgotten.load(Ordering::Relaxed) {
            *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        }
    }
}

impl Read {
    /// Has xet-core find what was read, and add to it. The names are those under which it keeps it.
    pub(crate) fn lend(&self, context: &XetContext) {
        let (managers, files) = (Arc::clone(&self.managers), Arc::clone(&self.files));
        context.common.cache_get_or_create("mdb_shard_file_manager_cache", || managers);
        context.common.cache_get_or_create("mdb_shard_file_cache", || files);
    }

    /// Looks at the shards in `folders`, and removes what isn't what its name says. Returns how many are there.
    /// Fails if one can't be removed: xet-core would read it. `call` is the one that this is for.
    pub(crate) fn check(&mut self, folders: &[&Path], call: &Call) -> Result<usize> {
        let (mut there, mut sound) = (HashSet::new(), 0);
        self.size = 0;
        for folder in folders {
            for (path, hash) in shards(folder)? {
                let found = match fs::symlink_metadata(&path) {
                    Ok(found) => found,
                    Err(e) if files::is_absent(&e) => continue,
                    Err(e) => return Err(Error::io("look at", &path, e)),
                };
                let sign = sign(&found);
                let is_known = self.checked.lock().get(&path) == Some(&sign);
                if !is_known && let Some(problem) = problem(&path, &hash, &found, call)? {
                    let is_gone = discard(&path, &problem)?;
                    if !is_gone {
                        // Not to be named each time.
                        self.checked.lock().insert(path.clone(), sign);
                        there.insert(path);
                    }
                    continue;
                }
                sound += usize::from(found.is_file());
                self.size += found.len();
                self.checked.lock().insert(path.clone(), sign);
                there.insert(path);
            }
        }
        self.checked.lock().retain(|path, _| there.contains(path));
        Ok(sound)
    }
}

/// An upload was misled that went by these `xorbs`, or by what is `staged`: removes the shards that name them, and notes
/// that storage hasn't got them, so that nobody goes by them again, whoever says so.
pub(crate) fn forget(cached: &Path, staged: &Path, xorbs: &HashSet<MerkleHash>) -> Result<()> {
    for (path, _) in shards(cached)? {
        let opened = File::open(&path).map_err(CoreError::from);
        let named = opened.and_then(|file| whole::xorbs(&mut BufReader::new(file)));
        if named.is_ok_and(|named| !named.iter().any(|xorb| xorbs.contains(xorb))) {
            continue;
        }
        discard(&path, "storage didn't agree with it, or with another one")?;
    }
    for (path, _) in shards(staged)? {
        discard(&path, "storage didn't agree with it, or with another one")?;
    }
    MissingXorbs::add(cached, xorbs)
}

/// Names a shard in the log and removes it. False: it's a folder, which isn't xet-core's, nor ours to remove;
/// xet-core passes it over.
fn discard(path: &Path, problem: &str) -> Result<bool> {
    tracing::warn!(path = %path.display(), "discarding a shard of the Xet cache: {problem}");
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::IsADirectory => Ok(false),
        Err(e) if !files::is_absent(&e) => Err(Error::io("remove", path, e)),
        _ => Ok(true),
    }
}

/// What xet-core would take for a shard in a folder, with the hash that its name is.
fn shards(folder: &Path) -> Result<Vec<(PathBuf, MerkleHash)>> {
    let fail = |e| Error::io("read", folder, e);
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut shards = Vec::new();
    for entry in found {
        let path = entry.map_err(fail)?.path();
        if let Some(hash) = parse_shard_filename(&path) {
            shards.push((path, hash));
        }
    }
    Ok(shards)
}

/// What is wrong with a shard; `None`: it's sound, or isn't there any more.
fn problem(
    path: &Path,
    hash: &MerkleHash,
    found: &Metadata,
    call: &Call,
) -> Result<Option<String>> {
    if !found.is_file() {
        return Ok(Some("it's no file".to_owned()));
    }
    if found.len() > LARGEST {
        return Ok(Some("it's larger than any shard".to_owned()));
    }
    let opened = fs::OpenOptions::new().read(true).never_follow_nor_wait().open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if files::is_absent(&e) => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(Some(e.to_string())),
        Err(e) => return Err(Error::io("open", path, e)),
    };
    look(file, hash, call)
}

/// What is wrong with a file: another hash than the one that is its name, or what isn't a shard. `call`
/// lives for as long as the disk gives something, and may be ended.
fn look(file: File, hash: &MerkleHash, call: &Call) -> Result<Option<String>> {
    let mut reader = BufReader::new(file);
    let mut content = HashedWrite::new(io::sink());
    let mut block = vec![0; 1 << 20];
    let mut len = 0;
    loop {
        if call.is_cancelled() {
            return Err(Error::cancelled());
        }
        let read = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Ok(Some(e.to_string())),
        };
        call.beat();
        if let Err(e) = content.write_all(&block[..read]) {
            return Ok(Some(e.to_string()));
        }
        len += read as u64;
    }
    if content.hash() != *hash {
        return Ok(Some("it doesn't have the hash that is its name".to_owned()));
    }
    Ok(whole::problem(&mut reader, len))
}

/// What is wrong with a shard that storage has sent, and that hasn't got a name yet. `missing`: what storage is known
/// not to have.
pub(crate) fn problem_of(shard: &[u8], missing: &MissingXorbs) -> Option<String> {
    if let Some(problem) = whole::problem(&mut Cursor::new(shard), shard.len() as u64) {
        return Some(problem);
    }
    match whole::xorbs(&mut Cursor::new(shard)) {
        Ok(xorbs) if !missing.has_any_of(&xorbs) => None,
        Ok(_) => Some("storage hasn't got what it names".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn sign(found: &Metadata) -> Sign {
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    (found.ino(), found.len(), times)
}

#[cfg(test)]
mod tests;
