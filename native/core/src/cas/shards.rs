//! The shards in the Xet cache: which chunks storage has, as xet-core notes it.
//!
//! xet-core believes what it reads there: it makes room for as much as a file says, and uses what it finds
//! without a look at its hash. So each file is looked at first, once until it changes; what isn't what its
//! name says goes. And what xet-core has read is handed on from one upload of a client to the next, or each
//! would read all of it again.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::RwLock;
use xet_core_structures::merklehash::{HashedWrite, MerkleHash};
use xet_core_structures::metadata_shard::utils::parse_shard_filename;
use xet_core_structures::metadata_shard::{
    MDBShardFileFooter, MDBShardInfo, ShardFileCache, ShardFileManager, new_shard_file_cache,
};
use xet_runtime::core::XetContext;

use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::open::Wary;

/// Larger than any that xet-core writes.
const LARGEST: u64 = 256 << 20;
/// Shards of this size together are read again each time: what xet-core keeps of them would be too much to
/// hold on to between two uploads.
const KEPT: u64 = 16 << 20;

/// What an upload has learnt of the shards, for the next one. For any thread.
#[derive(Default)]
pub(crate) struct KnownShards(Mutex<Option<Read>>);

/// What was read of shards, while one upload uses it.
///
/// An upload that is cancelled or fails may leave xet-core's part in a state that it never gets out of, so
/// it's handed on by [`KnownShards::keep`] only, after success.
pub(crate) struct Read {
    managers: Managers,
    files: ShardFileCache,
    checked: HashMap<PathBuf, Sign>,
    size: u64,
}

type Managers = Arc<RwLock<HashMap<PathBuf, Arc<ShardFileManager>>>>;

/// What tells a file from what it was: inode, size, and the times of the last write and the last change.
type Sign = (u64, u64, [i64; 4]);

impl KnownShards {
    /// What the last upload has left, or nothing: another upload may have it.
    pub(crate) fn take(&self) -> Read {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.unwrap_or_else(|| Read {
            managers: Arc::default(),
            files: new_shard_file_cache(),
            checked: HashMap::new(),
            size: 0,
        })
    }

    /// For the next upload.
    pub(crate) fn keep(&self, read: Read) {
        if read.size <= KEPT {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
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
    /// Fails if one can't be removed: xet-core would read it.
    pub(crate) fn check(&mut self, folders: &[&Path]) -> Result<usize> {
        let (mut checked, mut sound) = (HashMap::new(), 0);
        self.size = 0;
        for folder in folders {
            for (path, hash) in shards(folder)? {
                let found = match fs::symlink_metadata(&path) {
                    Ok(found) => found,
                    Err(e) if files::is_absent(&e) => continue,
                    Err(e) => return Err(Error::io("look at", &path, e)),
                };
                let sign = sign(&found);
                if self.checked.get(&path) != Some(&sign)
                    && let Some(problem) = problem(&path, &hash, &found)?
                {
                    let is_gone = discard(&path, &problem)?;
                    if !is_gone {
                        // Not to be named each time.
                        checked.insert(path, sign);
                    }
                    continue;
                }
                sound += usize::from(found.is_file());
                self.size += found.len();
                checked.insert(path, sign);
            }
        }
        self.checked = checked;
        Ok(sound)
    }
}

/// Removes all shards in `folders`: they have misled an upload.
pub(crate) fn discard_all(folders: &[&Path]) -> Result<()> {
    for folder in folders {
        for (path, _) in shards(folder)? {
            discard(&path, "storage didn't agree with it, or with another one")?;
        }
    }
    Ok(())
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
fn problem(path: &Path, hash: &MerkleHash, found: &Metadata) -> Result<Option<String>> {
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
    Ok(look(file, hash).err())
}

/// Whether a file has the hash that is its name, and names no places outside of itself.
fn look(file: File, hash: &MerkleHash) -> Result<(), String> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut content = HashedWrite::new(io::sink());
    let len = io::copy(&mut reader, &mut content).map_err(|e| e.to_string())?;
    if content.hash() != *hash {
        return Err("it doesn't have the hash that is its name".to_owned());
    }
    let info = MDBShardInfo::load_from_reader(&mut reader).map_err(|e| e.to_string())?;
    if fits(&info.metadata, len) { Ok(()) } else { Err("it contradicts itself".to_owned()) }
}

/// Whether all parts that a footer names lie one behind the other in a file of `len` bytes.
fn fits(footer: &MDBShardFileFooter, len: u64) -> bool {
    // Hashes cut short, and the places of what they are of.
    const LOOKUP: u64 = 12;
    const CHUNK_LOOKUP: u64 = 16;
    let end = |start: u64, count: u64, each| {
        count.checked_mul(each).and_then(|bytes: u64| bytes.checked_add(start))
    };
    let f = footer;
    let ends = [
        Some(f.file_info_offset),
        Some(f.xorb_info_offset),
        Some(f.file_lookup_offset),
        end(f.file_lookup_offset, f.file_lookup_num_entry, LOOKUP),
        Some(f.xorb_lookup_offset),
        end(f.xorb_lookup_offset, f.xorb_lookup_num_entry, LOOKUP),
        Some(f.chunk_lookup_offset),
        end(f.chunk_lookup_offset, f.chunk_lookup_num_entry, CHUNK_LOOKUP),
        Some(f.footer_offset),
        Some(len),
    ];
    ends.iter().all(Option::is_some) && ends.is_sorted()
}

fn sign(found: &Metadata) -> Sign {
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    (found.ino(), found.len(), times)
}

#[cfg(test)]
mod tests;
