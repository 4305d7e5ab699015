//! A file made from another one of this machine that should have its content: from somewhere else in the cache,
//! from a file of the same content that was just brought, or from one that another call has brought.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::check::content_matches;
use super::layout::RepoCache;
use super::local_dir::LocalDir;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry};
use crate::sys::copy;
use crate::sys::files;
use crate::sys::lock::FileLock;

impl RepoCache {
    /// Makes the file of `entry` by `take` from `source`, as [`adopt`] does. The caller holds the blob's lock.
    pub(super) fn adopt_file(
        &self,
        source: &Path,
        take: impl FnOnce(&Path, &Path, &CancellationToken) -> Result<()>,
        commit: &CommitId,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        let partial = self.partial_path(entry, lock)?;
        let install =
            |taken: &Path| self.install(commit, entry, taken, false, lock.keeps_all_out());
        adopt(source, &partial, entry, cancel, take, install)
    }
}

impl LocalDir {
    /// Copies `source`, and installs the copy, as [`adopt`] does. The caller holds the path's lock.
    pub(super) fn copy_from(
        &self,
        source: &Path,
        commit: &CommitId,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        let partial = self.partial_path(entry, lock)?;
        let install = |copy: &Path| self.install(commit, entry, copy, lock.keeps_all_out());
        adopt(source, &partial, entry, cancel, copy::content, install)
    }
}

/// Makes a file beside `partial` from `source` by `take`, and has `install` give it its name if it has the content of
/// `entry`: it's read before it's used. Nothing is left of it otherwise. `None`: the content is wrong, or `source`
/// can't be read. That is no failure, as the Hub has the content; that nothing can be written is one.
fn adopt(
    source: &Path,
    partial: &Path,
    entry: &Entry,
    cancel: &CancellationToken,
    take: impl FnOnce(&Path, &Path, &CancellationToken) -> Result<()>,
    install: impl FnOnce(&Path) -> Result<PathBuf>,
) -> Result<Option<PathBuf>> {
    // Not the partial file itself: what was downloaded already is kept if this fails.
    let taken = partial.with_extension("copy");
    // Somebody was killed while he made it.
    files::discard(&taken);
    let is_of_taken = |error: &Error| error.context().file.as_deref() == taken.to_str();
    let adopted = match take(source, &taken, cancel) {
        Err(error) if is_of_taken(&error) => Err(error),
        // What is a link to the source is as unreadable as that.
        done => match done.and_then(|()| content_matches(&taken, entry, cancel)) {
            _ if cancel.is_cancelled() => Err(Error::cancelled()),
            Ok(true) => install(&taken).map(Some),
            Ok(false) => {
                let path = source.display();
                tracing::warn!(%path, "a cached file has the wrong content and isn't used");
                Ok(None)
            }
            // It was cleaned up meanwhile, or its disk fails.
            Err(error) => {
                tracing::debug!(path = %source.display(), %error, "can't be taken");
                Ok(None)
            }
        },
    };
    if !matches!(adopted, Ok(Some(_))) {
        files::discard(&taken);
    }
    adopted
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha1::Digest;

    use super::super::layout::Cache;
    use super::*;
    use crate::model::content::{git_blob, hex};
    use crate::model::error::Kind;
    use crate::model::repo::{RepoPath, Storage};

    const CONTENT: &str = "content";

    /// A folder to download to, a file with the content that is wanted there as `x`, and what is left of a copy of
    /// it, and of whether the call was cancelled, once `prepare` has been at work on both.
    fn copied(
        is_cancelled: bool,
        prepare: impl FnOnce(&Path, &Path),
    ) -> (Result<Option<PathBuf>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let (local, source) = (folder.path().join("local"), folder.path().join("source"));
        let dir =
            LocalDir::new(&local, &Cache::new(folder.path().join("cache"), true, true)).unwrap();
        let size = CONTENT.len() as u64;
        let oid = hex(&git_blob(size).chain_update(CONTENT).finalize());
        let path = RepoPath::new("x").unwrap();
        let entry = Entry { path, size, oid, storage: Storage::Git };
        let lock = FileLock::try_acquire(&dir.lock_path(&entry.path).unwrap()).unwrap().unwrap();
        fs::write(&source, CONTENT).unwrap();
        prepare(&local, &source);
        let cancel = CancellationToken::new();
        if is_cancelled {
            cancel.cancel();
        }
        let commit = CommitId::parse(&"a".repeat(40)).unwrap();
        let done = dir.copy_from(&source, &commit, &entry, &lock, &cancel);
        let notes = files::parent(&dir.find_partial(&entry).unwrap()).to_path_buf();
        let names = fs::read_dir(notes).unwrap().map(|found| found.unwrap().file_name());
        let left = names.filter(|name| name.to_string_lossy().ends_with(".copy")).count();
        (done, left)
    }

    /// What is in the way is the user's.
    #[test]
    fn a_copy_that_gets_no_name_is_not_left_behind() {
        let (done, left) = copied(false, |local, _| {
            fs::create_dir(local.join("x")).unwrap();
            fs::write(local.join("x/mine"), "mine").unwrap();
        });
        assert_eq!((done.unwrap_err().kind(), left), (Kind::Io, 0));
    }

    /// Nor is one of which there is nothing to say any more.
    #[test]
    fn a_cancelled_call_is_cancelled_whatever_has_become_of_the_source() {
        for is_gone in [false, true] {
            let (done, left) = copied(true, |_, source| {
                if is_gone {
                    fs::remove_file(source).unwrap();
                }
            });
            assert_eq!((done.unwrap_err().kind(), left), (Kind::Cancelled, 0));
        }
    }

    /// The Hub has the content. A folder can be opened, and not read.
    #[test]
    fn a_source_that_cannot_be_read_is_passed_over() {
        for is_folder in [false, true] {
            let (done, left) = copied(false, |_, source| {
                fs::remove_file(source).unwrap();
                if is_folder {
                    fs::create_dir(source).unwrap();
                }
            });
            assert_eq!((done.unwrap(), left), (None, 0));
        }
    }

    /// Not by what has become of the source meanwhile.
    #[test]
    fn a_full_disk_is_told_from_a_source_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (source, partial) = (folder.path().join("source"), folder.path().join("x.partial"));
        fs::write(&source, CONTENT).unwrap();
        let path = RepoPath::new("x").unwrap();
        let entry = Entry { path, size: 7, oid: "0".repeat(40), storage: Storage::Git };
        let full = |source: &Path, to: &Path, _: &CancellationToken| {
            fs::remove_file(source).unwrap();
            Err(Error::io("write", to, std::io::ErrorKind::StorageFull.into()))
        };
        let install = |_: &Path| panic!("it has no content");
        let done = adopt(&source, &partial, &entry, &CancellationToken::new(), full, install);
        assert_eq!(done.unwrap_err().kind(), Kind::NoSpace);
    }
}
