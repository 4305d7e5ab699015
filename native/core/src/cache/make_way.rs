//! A folder that becomes a file, and a file that becomes a folder, in a folder of the user's: what an
//! earlier revision left goes. What the user put there, or changed, stays, and the new file is refused.

use std::fs;
use std::io;
use std::path::Path;

use super::local_dir::LocalDir;
use super::metadata::Metadata;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::RepoPath;

/// How often a folder is emptied that somebody else fills.
const ATTEMPTS: u32 = 16;

/// What stands where a name is wanted.
#[derive(PartialEq, Eq)]
enum Obstacle {
    /// A file, in the place of this folder.
    File(RepoPath),
    /// A folder, in the place of the file.
    Folder,
}

/// What is below a folder, each before the folder that it is in.
#[derive(Default)]
struct Below {
    files: Vec<RepoPath>,
    folders: Vec<RepoPath>,
}

impl LocalDir {
    /// Removes the file that stands where `path` needs a folder, or the folder that stands at `path`, if
    /// nothing in it is the user's. The new content is here already.
    ///
    /// The other files of a folder find the same in their way, and another process may, too: what fails
    /// because somebody else has made way is done.
    pub(super) fn make_way(&self, path: &RepoPath) -> Result<()> {
        let mut attempts = 0;
        while let Some(obstacle) = self.obstacle(path)? {
            attempts += 1;
            let Err(error) = self.clear(&obstacle, path) else { continue };
            // What has come meanwhile is looked at, too, before anything is said of it.
            let is_as_it_was = self.obstacle(path)?.as_ref() == Some(&obstacle);
            if is_as_it_was && !(is_not_empty(&error) && attempts < ATTEMPTS) {
                return Err(error);
            }
        }
        Ok(())
    }

    fn obstacle(&self, path: &RepoPath) -> Result<Option<Obstacle>> {
        let text = path.as_str();
        let folders = text.match_indices('/').map(|(end, _)| &text[..end]);
        for folder in folders.map(RepoPath::new) {
            let folder = folder?;
            if fs::symlink_metadata(self.file_path(&folder)?).is_ok_and(|found| found.is_file()) {
                return Ok(Some(Obstacle::File(folder)));
            }
        }
        let is_folder =
            fs::symlink_metadata(self.file_path(path)?).is_ok_and(|found| found.is_dir());
        Ok(is_folder.then_some(Obstacle::Folder))
    }

    fn clear(&self, obstacle: &Obstacle, path: &RepoPath) -> Result<()> {
        if let Obstacle::File(folder) = obstacle {
            self.check_ours(folder, path)?;
            return self.forget(folder);
        }
        let mut below = Below::default();
        self.look_below(path, path, &mut below)?;
        below.files.iter().try_for_each(|file| self.forget(file))?;
        for folder in below.folders {
            let at = self.file_path(&folder)?;
            // Not with what is in it: that may have come meanwhile.
            fs::remove_dir(&at).map_err(|e| Error::io("remove", &at, e))?;
        }
        Ok(())
    }

    fn look_below(&self, folder: &RepoPath, wanted: &RepoPath, below: &mut Below) -> Result<()> {
        let at = self.file_path(folder)?;
        let failed = |e| Error::io("list", &at, e);
        for found in fs::read_dir(&at).map_err(failed)? {
            let found = found.map_err(failed)?;
            let kind = found.file_type().map_err(failed)?;
            let name = found.file_name();
            // A name that isn't text can't be from the Hub.
            let name = name.to_str().ok_or_else(|| in_the_way(&found.path(), wanted))?;
            let path = RepoPath::new(&format!("{folder}/{name}"))?;
            if kind.is_dir() {
                self.look_below(&path, wanted, below)?;
            } else {
                self.check_ours(&path, wanted)?;
                below.files.push(path);
            }
        }
        below.folders.push(folder.clone());
        Ok(())
    }

    /// Fails unless the file is as a download left it. Reads it unless that is noted.
    fn check_ours(&self, path: &RepoPath, wanted: &RepoPath) -> Result<()> {
        let at = self.file_path(path)?;
        let found = fs::symlink_metadata(&at).map_err(|e| Error::io("look at", &at, e))?;
        let known = Metadata::read(&self.bookkeeping(path, "metadata")?)?;
        if let Some(known) = known.filter(|_| found.is_file())
            && self.has_etag(path, &known.etag, || Ok(()))?
        {
            return Ok(());
        }
        Err(in_the_way(&at, wanted))
    }

    fn forget(&self, path: &RepoPath) -> Result<()> {
        let at = self.file_path(path)?;
        tracing::info!(path = %at.display(), "what it is in the new revision has another shape");
        fs::remove_file(&at).map_err(|e| Error::io("remove", &at, e))?;
        self.names().add(&at);
        self.forget_notes(path)
    }
}

fn in_the_way(at: &Path, wanted: &RepoPath) -> Error {
    let message = format!(
        "{wanted}: {} is in its way, and isn't as it was downloaded; move it away, and try again",
        at.display()
    );
    Error::new(Kind::Io, message)
        .with(|c| {
            c.file = Some(wanted.to_string());
            c.name = Some(at.to_path_buf());
        })
        .caused_by(io::Error::from(io::ErrorKind::NotADirectory))
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    std::error::Error::source(error)?.downcast_ref::<io::Error>().map(io::Error::kind)
}

fn is_not_empty(error: &Error) -> bool {
    io_kind(error) == Some(io::ErrorKind::DirectoryNotEmpty)
}

/// Whether a failure to make a name is one that [`make_way`](LocalDir::make_way) may help with.
pub(super) fn is_in_the_way(error: &Error) -> bool {
    let kind = io_kind(error);
    kind.is_some_and(|kind| {
        matches!(kind, io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
    })
}
