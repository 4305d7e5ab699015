//! A partial file: where a file is being written until it gets its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use crate::model::error::{Error, Result};
use crate::sys::gather;
use crate::sys::identity::FileIdentity;
use crate::sys::length::Length;
use crate::sys::lock::FileLock;
use crate::sys::open::Wary;
use crate::sys::sync;
use crate::sys::unshared::Unshared;
use crate::sys::watch::Watch;
use crate::sys::{disk, files};

/// What is smaller is fetched sooner than looked for.
const WORTHWHILE: u64 = 1 << 20;

/// A partial file, open for reading and writing, and the lock that makes it ours alone.
///
/// It outlives a failure, a cancelled call and a kill, so that the next attempt takes it up. Beside
/// it stands a [`Journal`](super::journal::Journal) while chunks are written to it out of order, and notes
/// of what was [received](super::received) while parts are; without either, it holds the beginning of the
/// file and nothing else.
pub(crate) struct Partial {
    path: PathBuf,
    file: Unshared,
    /// Whose it is to write.
    turn: Mutex<()>,
    /// Who else has opened it.
    watch: Watch,
    length: Length,
    /// What another client has left of the same content.
    leftover: Option<PathBuf>,
    /// Whether nothing was here.
    is_new: bool,
    lock: Arc<FileLock>,
    /// When its lock was last shown to be in use.
    shown: Mutex<Option<Instant>>,
}

impl Partial {
    /// Opens the partial file of a file of `size` bytes, with what an earlier attempt has left in it.
    /// The caller holds the file's lock and hands it over. `leftover` is what another client has left
    /// of the same content, if anything.
    pub(crate) fn open(
        path: PathBuf,
        size: u64,
        leftover: Option<PathBuf>,
        lock: Arc<FileLock>,
    ) -> Result<Self> {
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                // A link that someone planted under this name must not lead the content elsewhere.
                .never_follow_nor_wait()
                .open(&path)
                .map(Unshared::of)
                .map_err(|e| Error::io("create", &path, e))
        };
        let mut file = open()?;
        let names = file.metadata().map_err(|e| Error::io("look at", &path, e))?.nlink();
        if names > 1 {
            // What `link` made, in a process that was killed before it could name it: another name
            // of a finished file, which is nobody's to write to.
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            file = open()?;
        }
        // The parts of a Xet file are checked, each in its place: what lies behind the last one has
        // to be cut off here, or it would become part of the file.
        let len = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
        if len > size {
            file.set_len(0).map_err(|e| Error::io("truncate", &path, e))?;
        }
        // What is small is read sooner than watched.
        let watch = if size < WORTHWHILE { Watch::none() } else { Watch::of(&path) };
        let length = Length::of(if len > size { 0 } else { len });
        let has_journal = fs::symlink_metadata(journal_path(&path)).is_ok();
        let is_new = len == 0 && leftover.is_none() && !has_journal;
        let (turn, shown) = (Mutex::default(), Mutex::default());
        Ok(Self { path, file, turn, watch, length, leftover, is_new, lock, shown })
    }

    /// Whether nobody else can have written to it, as far as can be told without reading it: neither who would
    /// have to have its lock, nor a program that knows nothing of locks. Asked once, at the end.
    pub(crate) fn is_untouched(&self) -> bool {
        self.is_alone() && self.watch.has_seen_nobody() && !self.length.is_cut(&self.file)
    }

    /// Whether another program is known to have opened it, and so may have written to it, or to have cut it off.
    /// Asked once, at the end.
    pub(crate) fn is_touched(&self) -> bool {
        self.watch.has_seen_somebody() || self.length.is_cut(&self.file)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was nothing to take up when it was opened.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// What another client has left of the same content.
    pub(crate) fn leftover(&self) -> Option<&Path> {
        self.leftover.as_deref()
    }

    /// Where its journal is.
    pub(crate) fn journal_path(&self) -> PathBuf {
        journal_path(&self.path)
    }

    /// Where it's noted what of it has come, if that comes in parts.
    pub(crate) fn parts_path(&self) -> PathBuf {
        parts_path(&self.path)
    }

    /// Forgets what has come in parts and isn't in the journal: the content isn't to be trusted.
    pub(crate) fn forget_parts(&self) -> Result<()> {
        remove(&self.parts_path())
    }

    /// Shows those who wait for the file's lock that its holder is at work, where nothing is written
    /// for a long time.
    pub(crate) fn show_life(&self) {
        const EVERY: Duration = Duration::from_secs(1);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *shown = Some(Instant::now());
        if let Err(error) = self.file.set_modified(SystemTime::now()) {
            tracing::debug!(path = %self.path.display(), %error, "can't show that it's in use");
        }
    }

    /// Writes `data` at `offset`.
    pub(crate) fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.write_all_at(&mut [IoSlice::new(data)], offset)
    }

    /// Writes `slices` one behind the other from `offset` on, and leaves nothing of them.
    pub(crate) fn write_all_at(&self, slices: &mut [IoSlice<'_>], offset: u64) -> Result<()> {
        let length: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        // The system has one write to a file at a time anyway, and lets the others spin.
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_at_length();
        gather::write_all_at(&self.file, slices, offset)
            .map_err(|e| Error::io("write", &self.path, e))?;
        drop(turn);
        self.length.reaches(offset + length);
        Ok(())
    }

    /// Whether somebody is writing.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.turn.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// Before it may grow, and hide that it was cut off. What isn't watched is read once more anyway.
    fn look_at_length(&self) {
        if self.watch.tells() {
            self.length.is_cut(&self.file);
        }
    }

    /// Reads all of `buffer` at `offset`; false if the partial file ends before.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<bool> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(Error::io("read", &self.path, e)),
        }
    }

    /// Another handle to read it by. Opening it by its name would look like [somebody else](Self::is_untouched).
    pub(crate) fn reader(&self) -> Result<Unshared> {
        let reader = self.file.try_clone().map(Unshared::of);
        reader.map_err(|e| Error::io("open", &self.path, e))
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| Error::io("look at", &self.path, e))
    }

    /// Forgets all that was written, for another start.
    pub(crate) fn restart(&self) -> Result<()> {
        remove(&self.journal_path())?;
        self.length.begin_anew();
        self.file.set_len(0).map_err(|e| Error::io("truncate", &self.path, e))?;
        // Last: of an empty file they say nothing.
        self.forget_parts()
    }

    /// Makes some of its bytes the same blocks on the disk as those of `source` from `at` on, as far
    /// as the file system can. Returns which.
    pub(crate) fn share(&self, source: &File, at: u64, range: &Range<u64>) -> Option<Range<u64>> {
        self.look_at_length();
        let shared = disk::share(source, at, &self.file, range)?;
        self.length.reaches(shared.end);
        Some(shared)
    }

    /// Makes the partial file another name of `source`: for content that is complete and needn't be a
    /// file of its own. False: it can't be linked, or isn't the file that was read any more, which had
    /// that `identity`. That is looked at when the file has its second name, so that what is put in the
    /// first one's place, or written to it while it was read, doesn't come along.
    pub(crate) fn link(&self, source: &Path, identity: FileIdentity) -> Result<bool> {
        let link = self.path.with_extension("link");
        let is_same = fs::hard_link(source, &link).is_ok()
            && fs::symlink_metadata(&link)
                .is_ok_and(|found| FileIdentity::of(&found) == Some(identity));
        let renamed = if is_same { fs::rename(&link, &self.path) } else { Ok(()) };
        // It's still there if that failed; and also if both were names of one file already, since
        // then there was nothing to rename.
        let _ = fs::remove_file(&link);
        renamed.map(|()| is_same).map_err(|e| Error::io("link", &self.path, e))
    }

    /// Brings the complete content to the disk, so that the final name never points to less.
    pub(crate) fn sync(&self) -> Result<()> {
        sync::content(&self.file, &self.path)
    }

    /// Removes the journal of a file that has its final name, and notes of its parts: only then, so that an end before it
    /// costs nothing. The file is there, whether this can be done or not.
    pub(crate) fn discard_journal(&self) {
        files::discard(&self.journal_path());
        files::discard(&self.parts_path());
    }

    /// Whether nobody else has been able to write the same file meanwhile, or to finish it.
    pub(crate) fn is_alone(&self) -> bool {
        self.lock.keeps_all_out()
    }

    /// Removes what others have left who had partial files of their own: the file has its final name. One that
    /// was written to a moment ago may still be somebody's.
    pub(crate) fn remove_abandoned(&self) {
        const ABANDONED: Duration = Duration::from_hours(1);
        if self.is_alone() || self.len().is_ok_and(|len| len < WORTHWHILE) {
            return;
        }
        let Some(key) = key(&self.path) else { return };
        for (path, _, modified) in files::signs(files::parent(&self.path), key) {
            let is_old = modified.is_some_and(|at| at.elapsed().is_ok_and(|old| old > ABANDONED));
            if path == left_path(&self.path, key) || is_old {
                files::discard(&path);
            }
        }
    }

    /// Gives it the name of what anyone may read from, unless it has got its final name.
    fn leave(&self) -> Result<()> {
        let Some(key) = key(&self.path) else { return Ok(()) };
        match fs::rename(&self.path, left_path(&self.path, key)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("rename", &self.path, e))
            }
            _ => Ok(()),
        }
    }
}

/// What the name of a partial file that has a name of its own begins with: what the content is known by.
fn key(partial: &Path) -> Option<&str> {
    let name = partial.file_name()?.to_str()?.strip_suffix(".partial")?;
    name.rsplit_once('.').map(|(key, _)| key)
}

/// Where such a file goes when nobody writes to it any more.
fn left_path(partial: &Path, key: &str) -> PathBuf {
    partial.with_file_name(format!("{key}.left.partial"))
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.lock.keeps_all_out() {
            return;
        }
        // It has a name of its own. What nobody writes to any more has one for all who were here, as something
        // to read from; whoever holds the lock that this call went on without has more of it.
        let is_small = self.len().is_ok_and(|len| len < WORTHWHILE);
        let given_up = if is_small || self.lock.is_passed_by() {
            remove_remains(&self.path)
        } else {
            remove(&self.journal_path()).and_then(|()| self.leave())
        };
        if let Err(error) = given_up {
            tracing::debug!(%error, "can't give up a partial file");
        }
    }
}

/// Where the journal of a partial file is.
pub(crate) fn journal_path(partial: &Path) -> PathBuf {
    let mut name = partial.as_os_str().to_owned();
    name.push(".chunks");
    name.into()
}

/// Where it's noted what of a partial file has come.
pub(crate) fn parts_path(partial: &Path) -> PathBuf {
    let mut name = partial.as_os_str().to_owned();
    name.push(".parts");
    name.into()
}

/// Removes what an ended attempt has left of a file that is here after all.
pub(crate) fn remove_remains(partial: &Path) -> Result<()> {
    remove(&journal_path(partial))?;
    remove(partial)?;
    remove(&parts_path(partial))
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(folder: &Path, lock: FileLock) -> Partial {
        Partial::open(folder.join("a.partial"), 9, None, Arc::new(lock)).unwrap()
    }

    fn lock(folder: &Path) -> FileLock {
        FileLock::try_acquire(&folder.join("lock")).unwrap().unwrap()
    }

    /// Reading for a long time looks like work from outside.
    #[test]
    fn a_partial_file_that_is_only_read_shows_life() {
        let folder = tempfile::tempdir().unwrap();
        let partial = partial(folder.path(), lock(folder.path()));
        let modified = || std::fs::metadata(partial.path()).unwrap().modified().unwrap();
        partial.file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        partial.show_life();
        assert!(modified() > SystemTime::UNIX_EPOCH);
    }

    /// Who has the lock and reads what is here hasn't written to it behind anybody's back; another program may have.
    #[cfg(target_os = "linux")]
    #[test]
    fn to_read_it_is_not_to_touch_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("a.partial"), Arc::new(lock(folder.path())));
        let partial = Partial::open(path.clone(), WORTHWHILE, None, lock).unwrap();
        partial.write_at(b"content", 0).unwrap();
        assert_eq!(io::read_to_string(&*partial.reader().unwrap()).unwrap(), "content");
        assert!(partial.is_untouched());
        drop(OpenOptions::new().write(true).open(path).unwrap());
        assert!(!partial.is_untouched());
    }

    /// What was cut off is noticed, also if it has grown again since; not what was begun anew.
    #[cfg(target_os = "linux")]
    #[test]
    fn to_cut_it_off_is_to_touch_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("a.partial"), Arc::new(lock(folder.path())));
        let partial = Partial::open(path.clone(), WORTHWHILE, None, lock).unwrap();
        let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        let cut_off = || {
            // SAFETY: the name ends with a NUL.
            assert_eq!(unsafe { libc::truncate(name.as_ptr(), 3) }, 0);
        };
        partial.write_at(b"content", 0).unwrap();
        assert!(partial.is_untouched() && !partial.is_touched());
        cut_off();
        assert!(!partial.is_untouched() && partial.is_touched());
        partial.restart().unwrap();
        partial.write_at(b"content", 0).unwrap();
        assert!(partial.is_untouched());
        cut_off();
        partial.write_at(b"more", 7).unwrap();
        assert!(!partial.is_untouched() && partial.is_touched());
    }

    /// A file that is written to while it is read is no second name for what was read of it.
    #[test]
    fn a_file_that_changed_meanwhile_is_not_linked() {
        let folder = tempfile::tempdir().unwrap();
        let partial = partial(folder.path(), lock(folder.path()));
        partial.write_at(b"of my own", 0).unwrap();
        let source = folder.path().join("source");
        let read = || FileIdentity::of(&fs::metadata(&source).unwrap()).unwrap();
        fs::write(&source, "content 1").unwrap();
        File::open(&source).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let before = read();
        fs::write(&source, "content 2").unwrap();
        assert!(!partial.link(&source, before).unwrap());
        assert_eq!(fs::read(partial.path()).unwrap(), b"of my own");
        assert_eq!(fs::metadata(&source).unwrap().nlink(), 1, "nothing is left of the attempt");
        assert!(partial.link(&source, read()).unwrap());
        assert_eq!(fs::read(partial.path()).unwrap(), b"content 2");
    }

    /// What was begun without the lock, as its holder hangs, isn't left behind; the rest is.
    #[test]
    fn only_a_partial_file_under_a_lock_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path());
        let passed = FileLock::without(&folder.path().join("lock"));
        let left = |partial: Partial| {
            partial.write_at(b"content", 0).unwrap();
            std::fs::write(partial.journal_path(), "notes").unwrap();
            drop(partial);
            std::fs::read_dir(folder.path()).unwrap().count()
        };
        assert_eq!(left(partial(folder.path(), passed)), 1, "the lock alone");
        assert_eq!(left(partial(folder.path(), held)), 3);
    }

    /// What nobody writes to any more has one name, whoever wrote it.
    #[test]
    fn what_is_left_is_known_by_its_content() {
        let name = |name: &str| key(Path::new(name)).map(str::to_owned);
        assert_eq!(name("/c/0a.1234abcd.partial").as_deref(), Some("0a"));
        assert_eq!(name("/c/11.0a.1234abcd.partial").as_deref(), Some("11.0a"));
        assert_eq!(name("/c/0a.1234abcd.copy"), None);
        assert_eq!(left_path(Path::new("/c/0a.1.partial"), "0a"), Path::new("/c/0a.left.partial"));
    }
}
