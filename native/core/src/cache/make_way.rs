//! A folder that becomes a file, and a file that becomes a folder, in a folder of the user's: what an
//! earlier revision left goes. What the user put there, or changed, stays, and the new file is refused.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::local_dir::LocalDir;
use super::metadata::Metadata;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::RepoPath;
use crate::sys::lock::{FileLock, pauses};

/// How long to go on where somebody else puts back what was removed, or is at work on it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a name may be refused for what can't be seen in its way.
const UNSEEN: u32 = 4;

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
    /// Makes a name for `path` by `make`, and makes way for it if that fails: removes the file that stands where it
    /// needs a folder, or the folder that stands in its place, if nothing in it is the user's. The new content is
    /// here already.
    ///
    /// The other files of a folder find the same in their way, and another call may, which even brings in a revision
    /// where this path is the other thing: what others have done is done, and who puts things back for long has
    /// the place.
    pub(super) fn name<T>(&self, path: &RepoPath, make: impl Fn() -> Result<T>) -> Result<T> {
        let (mut pauses, mut unseen) = (pauses(), 0);
        // Since when others are in the way. How long it takes to make way isn't counted.
        let mut since: Option<Instant> = None;
        loop {
            let refusal = match make() {
                Err(error) if is_in_the_way(&error) => error,
                done => return done,
            };
            let obstacle = self.obstacle(path)?;
            let Some(obstacle) = obstacle else {
                unseen += 1;
                if unseen >= UNSEEN {
                    return Err(refusal);
                }
                continue;
            };
            if since.is_some_and(|since| since.elapsed() >= PATIENCE) {
                return Err(self.taken(&obstacle, path));
            }
            let begun = Instant::now();
            match self.clear(&obstacle, path) {
                Ok(()) => since = Some(since.unwrap_or(begun) + begun.elapsed()),
                Err(error) => {
                    // What has come meanwhile is looked at, too, before anything is said of it.
                    let is_as_it_was = self.obstacle(path)?.as_ref() == Some(&obstacle);
                    if is_as_it_was && !is_of_others(&error) {
                        return Err(error);
                    }
                    since.get_or_insert(begun);
                    std::thread::sleep(pauses.next().unwrap_or_default());
                }
            }
        }
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
            let lock = self.check_ours(folder, path)?;
            return self.forget(folder, &lock);
        }
        let mut below = Below::default();
        self.look_below(path, path, &mut below)?;
        for file in &below.files {
            // Once more, under its lock: it may be another one by now.
            let lock = self.check_ours(file, path)?;
            self.forget(file, &lock)?;
        }
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

    /// Fails unless the file is as a download left it. Reads it unless that is noted. Returns its lock: while a
    /// download is at work on it, it has no metadata, or is about to be another one.
    fn check_ours(&self, path: &RepoPath, wanted: &RepoPath) -> Result<FileLock> {
        let at = self.file_path(path)?;
        let found = fs::symlink_metadata(&at).map_err(|e| Error::io("look at", &at, e))?;
        // Nothing is made beside a file of the user's.
        let notes = self.bookkeeping(path, "lock")?;
        if !found.is_file() || !notes.exists() && !self.bookkeeping(path, "metadata")?.exists() {
            return Err(in_the_way(&at, wanted));
        }
        let Some(lock) = FileLock::try_acquire(&notes)? else {
            return Err(self.taken_by_another(&format!("the file {}", at.display()), wanted));
        };
        if let Some(known) = Metadata::read(&self.bookkeeping(path, "metadata")?)?
            && self.has_etag(path, &known.etag, || Ok(()))?
        {
            return Ok(lock);
        }
        Err(in_the_way(&at, wanted))
    }

    /// What is to be said where others have the place of `path`.
    fn taken(&self, obstacle: &Obstacle, path: &RepoPath) -> Error {
        let what = match obstacle {
            Obstacle::File(file) => {
                format!("the file {}", self.root().join(file.as_str()).display())
            }
            Obstacle::Folder => format!("the folder {}", self.root().join(path.as_str()).display()),
        };
        self.taken_by_another(&what, path)
    }

    /// Of a kind that has the file brought in again, at the end of the call: by then the other one may have ended.
    fn taken_by_another(&self, what: &str, path: &RepoPath) -> Error {
        let message = format!(
            "{path}: {what} is in its way, which another download into {} is bringing in; download one revision at \
             a time to a local_dir, or each to one of its own",
            self.root().display()
        );
        Error::new(Kind::FilesRemoved, message).with(|c| c.file = Some(path.to_string()))
    }

    /// Removes the file under its lock, and what is noted of it.
    fn forget(&self, path: &RepoPath, _lock: &FileLock) -> Result<()> {
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

/// Whether a failure to make way is due to what others do there.
fn is_of_others(error: &Error) -> bool {
    error.kind() == Kind::FilesRemoved || io_kind(error) == Some(io::ErrorKind::DirectoryNotEmpty)
}

/// Whether a failure to make a name is due to what stands there.
fn is_in_the_way(error: &Error) -> bool {
    let kind = io_kind(error);
    kind.is_some_and(|kind| {
        matches!(kind, io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sha1::Digest;

    use super::super::layout::Cache;
    use super::*;
    use crate::model::content::{git_blob, hex};
    use crate::model::repo::{CommitId, Entry, Storage};

    /// Brings a file to the folder, as a download does.
    fn bring(dir: &LocalDir, at: &str) {
        let content = at.as_bytes();
        let oid = hex(&git_blob(content.len() as u64).chain_update(content).finalize());
        let path = RepoPath::new(at).unwrap();
        let entry = Entry { path, size: content.len() as u64, oid, storage: Storage::Git };
        let lock = FileLock::try_acquire(&dir.lock_path(&entry.path).unwrap()).unwrap().unwrap();
        let partial = dir.partial_path(&entry, &lock).unwrap();
        fs::write(&partial, content).unwrap();
        dir.install(&CommitId::parse(&"a".repeat(40)).unwrap(), &entry, &partial, true).unwrap();
    }

    /// Makes the file `x` where a folder is that was brought, and which comes back `times` times before
    /// each attempt to make it. Such an attempt takes so long.
    fn make(times: u32, takes: Duration) -> (Result<()>, u32) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"), true, true);
        let dir = LocalDir::new(&folder.path().join("local"), &cache).unwrap();
        let (path, made) = (RepoPath::new("x").unwrap(), Cell::new(0));
        let at = dir.file_path(&path).unwrap();
        let done = dir.name(&path, || {
            if made.get() < times {
                bring(&dir, "x/a.txt");
                std::thread::sleep(takes);
            }
            made.set(made.get() + 1);
            fs::write(&at, "now a file").map_err(|e| Error::io("write", &at, e))
        });
        (done, made.get())
    }

    /// Others have put it back, and may have been slow about it.
    #[test]
    fn a_way_that_is_free_is_taken_however_long_it_took() {
        let (done, attempts) = make(1, PATIENCE);
        done.unwrap();
        assert_eq!(attempts, 2);
    }

    /// Who puts things back for long has the place.
    #[test]
    fn what_is_put_back_for_ever_stays() {
        let (done, attempts) = make(u32::MAX, PATIENCE / 10);
        assert_eq!(done.unwrap_err().kind(), Kind::FilesRemoved);
        assert!(attempts > 2, "{attempts}");
    }
}
