//! Names that survive a power cut.
//!
//! The content of a file is on the disk before it gets its name; the name is in its folder, and that
//! has to reach the disk, too. Syncing a folder costs as much as syncing a file, so the folders in which
//! names were made are written down here, and synced once, before success is reported. One that can't
//! be synced stays written down, so that no later call counts on a name that the disk doesn't have.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{files, rename, sync};
use crate::model::error::{Error, Result};

/// Folders with new names in them that may not have reached the disk. For any thread.
#[derive(Debug, Default)]
pub struct NewNames(Mutex<Folders>);

#[derive(Debug, Default)]
struct Folders {
    /// With the number of the last name that was made in it.
    unsynced: BTreeMap<PathBuf, u64>,
    made: u64,
}

/// A folder with new names in it.
#[derive(Clone, Debug)]
pub(crate) struct Unsynced {
    folder: PathBuf,
    last: u64,
}

/// The new names in several places, for all calls that look at them: a call that finds a file there may
/// not count on its name before that has been synced, whoever made it.
#[derive(Debug, Default)]
pub(crate) struct NamesByPlace(Mutex<HashMap<PathBuf, Arc<NewNames>>>);

impl NamesByPlace {
    /// Those in `place`.
    pub(crate) fn of(&self, place: &Path) -> Arc<NewNames> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, names| Arc::strong_count(names) > 1 || !names.are_synced());
        Arc::clone(places.entry(place.to_path_buf()).or_default())
    }
}

impl NewNames {
    /// `path` is a name that was made, or stands for something else now.
    pub(crate) fn add(&self, path: &Path) {
        let folder = files::parent(path);
        let mut folders = self.folders();
        folders.made += 1;
        let last = folders.made;
        match folders.unsynced.get_mut(folder) {
            Some(known) => *known = last,
            None => drop(folders.unsynced.insert(folder.to_path_buf(), last)),
        }
    }

    /// Creates a folder and its parents.
    pub(crate) fn create_folder(&self, folder: &Path) -> Result<()> {
        match fs::create_dir(folder) {
            Ok(()) => self.add(folder),
            Err(e) if e.kind() == io::ErrorKind::NotFound && folder.parent().is_some() => {
                self.create_folder(files::parent(folder))?;
                // Another one may have been faster.
                files::create_folder(folder)?;
                self.add(folder);
            }
            Err(e) if folder.is_dir() => tracing::trace!(error = %e, "a folder is there"),
            // It was there, and somebody has removed it since: that's what is to be said of it.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_gone(folder) => {
                return Err(Error::io("create folder", folder, io::ErrorKind::NotFound.into()));
            }
            Err(e) => return Err(Error::name("create folder", folder, leads_nowhere(folder, e))),
        }
        Ok(())
    }

    /// Creates `folder`, which lies in `root`; see [`files::create_folder_within`].
    pub(crate) fn create_folder_within(&self, root: &Path, folder: &Path) -> Result<()> {
        self.create_folder(root)?;
        files::create_folder_within(root, folder, |made| self.add(made))
    }

    /// Gives `from` the name `to`; see [`rename::move_file`].
    pub(crate) fn move_file(&self, from: &Path, to: &Path) -> Result<()> {
        rename::move_file(from, to)?;
        self.add(to);
        Ok(())
    }

    /// Gives `from` the name `to` unless something has it, and returns whether it did; see
    /// [`rename::take_name`].
    pub(crate) fn take_name(&self, from: &Path, to: &Path) -> Result<bool> {
        let is_ours = rename::take_name(from, to)?;
        if is_ours {
            self.add(to);
        }
        Ok(is_ours)
    }

    /// The folders that are to be synced, the deepest first: a name in one that isn't there itself is
    /// worth nothing, but no worse than before.
    pub(crate) fn unsynced(&self) -> Vec<Unsynced> {
        let folders = self.folders();
        let unsynced = folders.unsynced.iter().rev();
        unsynced.map(|(folder, &last)| Unsynced { folder: folder.clone(), last }).collect()
    }

    /// Brings the names in one of them to the disk. It's to be synced again if that fails, or if there
    /// are newer ones.
    pub(crate) fn sync(&self, unsynced: &Unsynced) -> Result<()> {
        sync::folder(&unsynced.folder)?;
        let mut folders = self.folders();
        if folders.unsynced.get(&unsynced.folder) == Some(&unsynced.last) {
            folders.unsynced.remove(&unsynced.folder);
        }
        Ok(())
    }

    fn are_synced(&self) -> bool {
        self.folders().unsynced.is_empty()
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        // Every change leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a folder can't be made where there is a link to nowhere: "File exists" is no help there.
fn leads_nowhere(folder: &Path, error: io::Error) -> io::Error {
    match fs::read_link(folder) {
        Ok(target) if error.kind() == io::ErrorKind::AlreadyExists => {
            let target = target.display();
            let problem = format!(
                "it is a link to {target}, which isn't there; make that folder, or mount its disk"
            );
            io::Error::new(error.kind(), problem)
        }
        _ => error,
    }
}

fn is_gone(path: &Path) -> bool {
    matches!(fs::symlink_metadata(path), Err(e) if files::is_absent(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each folder that got a name is there once, and new parents count.
    #[test]
    fn folders_with_new_names_are_known_once() {
        let folder = tempfile::tempdir().unwrap();
        let (root, names) = (folder.path(), NewNames::default());
        names.create_folder(&root.join("a/b")).unwrap();
        names.create_folder(&root.join("a/b")).unwrap();
        fs::write(root.join("x"), "x").unwrap();
        names.move_file(&root.join("x"), &root.join("a/b/y")).unwrap();
        names.create_folder_within(&root.join("a"), &root.join("a/b/c/d")).unwrap();
        let expected = ["a/b/c", "a/b", "a", ""].map(|name| root.join(name));
        let found = names.unsynced();
        assert_eq!(
            found.iter().map(|found| &found.folder).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        names.add(&root.join("a/b/z"));
        for found in &found {
            names.sync(found).unwrap();
        }
        let left = names.unsynced();
        assert_eq!(left.iter().map(|left| &left.folder).collect::<Vec<_>>(), [&root.join("a/b")]);
        names.sync(&left[0]).unwrap();
        assert!(names.are_synced());
        assert!(names.create_folder(&root.join("a/b/y")).is_err(), "a file is in the way");
        std::os::unix::fs::symlink("/nowhere/at all", root.join("link")).unwrap();
        let error = names.create_folder(&root.join("link/below")).unwrap_err().to_string();
        assert!(error.contains("link to /nowhere/at all, which isn't there; make"), "{error}");
    }
}
