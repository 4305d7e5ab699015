//! Names that survive a power cut.
//!
//! The content of a file is on the disk before it gets its name; the name is in its folder, and that
//! has to reach the disk, too. Syncing a folder costs as much as syncing a file, so the folders in which
//! names were made are written down here, and synced once, before success is reported.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{files, rename};
use crate::model::error::{Error, Result};

/// Folders with new names in them that may not have reached the disk. For any thread.
#[derive(Debug, Default)]
pub struct NewNames(Mutex<BTreeSet<PathBuf>>);

impl NewNames {
    /// `path` is a name that was made, or stands for something else now.
    pub(crate) fn add(&self, path: &Path) {
        let folder = files::parent(path);
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !folders.contains(folder) {
            folders.insert(folder.to_path_buf());
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
            Err(e) => return Err(Error::io("create folder", folder, e)),
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

    /// Takes out the folders, the deepest first: a name in one that isn't there itself is worth
    /// nothing, but no worse than before.
    #[must_use]
    pub fn take(&self) -> Vec<PathBuf> {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *folders).into_iter().rev().collect()
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
        let found = names.take();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        assert_eq!(names.take(), Vec::<PathBuf>::new());
        assert!(names.create_folder(&root.join("a/b/y")).is_err(), "a file is in the way");
    }
}
