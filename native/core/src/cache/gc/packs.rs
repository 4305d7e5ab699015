//! What was read in place: its chunks are kept in a folder of the Xet cache, many in one file, a pack. Who reads keeps
//! all of them below a limit; here they are a part of what is pruned by age and by size, and never of what nothing
//! refers to, as nothing ever refers to them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::names::{Found, list};
use super::choice::GRACE;
use super::inventory::age;
use super::look::modified;
use super::prune::Pruner;
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::model::repo::is_lower_hex;

/// What the name of a pack begins with while it's being written.
pub(crate) const WRITING: &str = ".writing-";

/// Why packs went.
const READ: &str = "what was read in place";
const HALF: &str = "left by a process that kept what was read in place";

/// A file with chunks that were read.
#[derive(Clone, Debug)]
pub struct Pack {
    /// As the reuse index has it.
    pub(crate) path: PathBuf,
    /// What it takes on the disk, in bytes.
    pub(crate) size: u64,
    /// When it was last written to.
    pub(crate) changed: SystemTime,
    /// It's written to its end, and has its name.
    pub(crate) is_whole: bool,
}

impl Pack {
    /// All of a folder. A folder that isn't there has none.
    pub(crate) fn all_in(folder: &Path, walk: &Walk) -> Result<Vec<Self>> {
        let real = fs::canonicalize(folder);
        let found = list(real.as_deref().unwrap_or(folder))?;
        // It may have gone meanwhile.
        Ok(walk.each(&found, |found| Ok(Self::new(found)))?.into_iter().flatten().collect())
    }

    fn new(found: &Found) -> Option<Self> {
        let is_whole = is_lower_hex(&found.name, 64);
        if !is_whole && !found.name.starts_with(WRITING) {
            return None;
        }
        let metadata = found.path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
        let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Self { path: found.path.clone(), size: metadata.blocks() * 512, changed, is_whole })
    }

    /// Whether somebody may be writing it at the moment.
    pub(crate) fn is_being_written(&self) -> bool {
        !self.is_whole && age(self.changed) < GRACE
    }
}

/// The folder in this Xet cache.
pub(crate) fn folder(xet_cache: &Path) -> PathBuf {
    xet_cache.join("xet-ffi/read")
}

impl Pruner<'_> {
    /// Removes a pack, and tells `forget`, unless it was written to since it was chosen. False: it was kept.
    pub(super) fn remove_pack(&mut self, pack: &Pack, forget: &dyn Fn(&Path)) -> Result<bool> {
        let kept = self.pruned.kept.len();
        if modified(&pack.path) <= pack.changed {
            let reason = if pack.is_whole { READ } else { HALF };
            self.unlink(&[(&pack.path, pack.size)], reason)?;
        }
        let is_gone = self.pruned.kept.len() == kept;
        if is_gone && !self.dry_run {
            forget(&pack.path);
        }
        Ok(is_gone)
    }
}
