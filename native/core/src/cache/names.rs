//! Which names there are in folders, asked for as seldom as it takes.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::model::error::{Error, Result};
use crate::sys::files;

/// Misses in a folder after which all of its names are fetched at once.
const MISSES: u32 = 4;

/// Something in a folder.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
}

/// What is in a folder, by name; nothing if there is no such folder.
pub(super) fn list(folder: &Path) -> Result<Vec<Found>> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(e) if files::is_absent(&e) => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", folder, e)),
    };
    let mut found = Vec::new();
    for item in list {
        let item = item.map_err(|e| Error::io("list", folder, e))?;
        let (name, path) = (item.file_name().to_string_lossy().into_owned(), item.path());
        // Most file systems tell it with the name.
        match item.file_type() {
            Ok(kind) => found.push(Found { name, path, kind }),
            Err(e) if files::is_absent(&e) => {}
            Err(e) => return Err(Error::io("look at", &path, e)),
        }
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Which names there are in some folders. After a few misses in a folder its names are fetched at once,
/// so that what isn't there costs nothing more: a first download asks for thousands of such files.
///
/// What it knows may be outdated at once, as every look may be.
#[derive(Debug, Default)]
pub struct Names {
    folders: Mutex<HashMap<PathBuf, Arc<Folder>>>,
    /// Whether any folder's names are known. Where all is there, nothing has to be looked up.
    some_known: AtomicBool,
}

#[derive(Debug, Default)]
struct Folder {
    misses: AtomicUsize,
    /// `None`: it can't be listed, so one has to look for each name.
    names: OnceLock<Option<HashSet<OsString>>>,
}

impl Names {
    /// Names below `root`. If that isn't there, it's known already that nothing is.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let names = Self::default();
        if matches!(fs::symlink_metadata(root), Err(e) if files::is_absent(&e)) {
            names.know(&names.folder(root), || Some(HashSet::new()));
        }
        names
    }

    /// What `look` finds at `path`, which isn't asked where there is known to be nothing.
    pub(super) fn find<T>(
        &self,
        path: &Path,
        look: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let folder = files::parent(path);
        if self.is_absent(path) {
            return Ok(None);
        }
        let found = look()?;
        if found.is_none() {
            let known = self.folder(folder);
            if known.misses.fetch_add(1, Ordering::Relaxed) + 1 == MISSES as usize {
                self.know(&known, || names(folder));
            }
        }
        Ok(found)
    }

    fn know(&self, folder: &Folder, names: impl FnOnce() -> Option<HashSet<OsString>>) {
        folder.names.get_or_init(names);
        self.some_known.store(true, Ordering::Release);
    }

    /// Whether `path`, or a folder above it, is known not to be there.
    fn is_absent(&self, path: &Path) -> bool {
        if !self.some_known.load(Ordering::Acquire) {
            return false;
        }
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = path;
        while let (Some(folder), Some(name)) = (at.parent(), at.file_name()) {
            let known = folders.get(folder).and_then(|known| known.names.get());
            if known.is_some_and(|names| names.as_ref().is_some_and(|names| !names.contains(name)))
            {
                return true;
            }
            at = folder;
        }
        false
    }

    fn folder(&self, folder: &Path) -> Arc<Folder> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = folders.get(folder) {
            return Arc::clone(known);
        }
        Arc::clone(folders.entry(folder.to_path_buf()).or_default())
    }
}

fn names(folder: &Path) -> Option<HashSet<OsString>> {
    match fs::read_dir(folder) {
        Ok(list) => {
            list.map(|item| item.map(|item| item.file_name())).collect::<Result<_, _>>().ok()
        }
        Err(e) if files::is_absent(&e) => Some(HashSet::new()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What isn't there is asked for a few times, and then known; what is there is always looked at.
    #[test]
    fn a_folder_is_listed_after_a_few_misses() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("there"), "").unwrap();
        let names = Names::below(folder.path());
        let looks = AtomicUsize::new(0);
        let find = |name: &str| {
            let path = folder.path().join(name);
            let found = names.find(&path, || {
                looks.fetch_add(1, Ordering::Relaxed);
                Ok(path.exists().then_some(()))
            });
            found.unwrap().is_some()
        };
        for i in 0..100 {
            assert!(!find(&format!("absent {i}")));
            assert!(!find(&format!("absent/{i}")));
        }
        assert!(looks.load(Ordering::Relaxed) <= 2 * MISSES as usize);
        assert!(find("there"));
        let nowhere = Names::below(&folder.path().join("nowhere"));
        let found = nowhere.find::<()>(&folder.path().join("nowhere/d/x"), || panic!("asked"));
        assert!(found.unwrap().is_none());
    }
}
