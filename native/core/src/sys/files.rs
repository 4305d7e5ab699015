//! What the cache needs from the file system: safe joins, replacing in one step.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Entry, RepoPath, is_lower_hex};
use crate::sys::open::{self, Wary};
use crate::sys::{identity, refused, rename, small, sync};

/// Bytes copied between two looks at the cancellation token.
pub(crate) const STEP: u64 = 8 << 20;

/// Marks a folder for backup tools: <https://bford.info/cachedir/>. They look at the first line.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Downloads from the Hugging Face Hub, which can be downloaded again.\n\
    # About this file: https://bford.info/cachedir/\n";

/// The longest name, in bytes, that file systems here can hold.
pub(crate) const MAX_NAME: usize = 255;

/// A name that is no longer, in bytes, fits everywhere: eCryptfs has the shortest ones known, of 143.
const SHORT_NAME: usize = 100;

/// `base/path`. [`RepoPath`] promises that this stays inside `base`; it's checked once more,
/// because everything written here relies on it. A name that no file can have is refused here, before
/// anything is fetched for it.
pub(crate) fn join(base: &Path, path: &RepoPath) -> Result<PathBuf> {
    let relative = Path::new(path.as_str());
    let bad = |why: &str| {
        Err(Error::new(Kind::UnsafePath, format!("{path}: {why}"))
            .with(|c| c.file = Some(path.to_string())))
    };
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return bad("the file's path leaves its folder");
    }
    if path.as_str().split('/').any(|name| name.len() > MAX_NAME) {
        return bad(
            "a name in the file's path is longer than the 255 bytes that names can have here",
        );
    }
    Ok(base.join(relative))
}

/// Whether the name at the end of `path` is longer than names are there; its folder exists. A look at it says so,
/// whether something has it or not.
pub(crate) fn is_too_long(path: &Path) -> bool {
    let length = path.file_name().unwrap_or_default().len();
    let is_said = |e: io::Error| e.kind() == io::ErrorKind::InvalidFilename;
    length > MAX_NAME || length > SHORT_NAME && fs::symlink_metadata(path).is_err_and(is_said)
}

/// The name of an entry's blob. [`Entry::etag`] promises hex digits; it's checked once more,
/// because it becomes a file name.
pub(crate) fn blob_name(entry: &Entry) -> Result<&str> {
    let etag = entry.etag();
    if is_lower_hex(etag, 40) || is_lower_hex(etag, 64) {
        return Ok(etag);
    }
    Err(Error::new(Kind::InvalidResponse, format!("{}: its etag is no hash", entry.path))
        .with(|c| c.file = Some(entry.path.to_string())))
}

/// The folder that holds `path`. Every path built here has one.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Creates a folder and its parents.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| match takes_no_folder(folder, &e) {
        Some(there) => {
            let problem = format!("the file system takes no folder in {}", there.display());
            let problem = io::Error::new(io::ErrorKind::ReadOnlyFilesystem, problem);
            Error::name("create folder", folder, problem)
        }
        None => Error::name("create folder", folder, e),
    })
}

/// Whether this process may make files in `folder`.
pub(crate) fn takes_files(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    // SAFETY: `path` is a string that lives until the call has returned.
    let refused = unsafe {
        libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS)
    };
    let why = io::Error::last_os_error().kind();
    // A file system that doesn't know says so when a file is made.
    refused == 0
        || !matches!(why, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The folder above `folder` that is there and in which none can be made, if that is why it can't. /proc, for example,
/// says that something isn't there, as if somebody had removed it.
fn takes_no_folder<'a>(folder: &'a Path, error: &io::Error) -> Option<&'a Path> {
    if error.kind() != io::ErrorKind::NotFound {
        return None;
    }
    let (first, above) =
        folder.ancestors().zip(folder.ancestors().skip(1)).find(|(_, above)| above.is_dir())?;
    matches!(fs::create_dir(first), Err(e) if e.kind() == io::ErrorKind::NotFound && above.is_dir())
        .then_some(above)
}

/// Creates `folder`, which lies in `root`, a folder that exists, and refuses to pass a link that leads out of `root`:
/// somebody else may have put it there so that the files end up elsewhere. `made` gets what was made.
///
/// The check and the write after it are two steps, so it guards against links that are there, not
/// against someone who swaps folders at the same moment.
pub(crate) fn create_folder_within(root: &Path, folder: &Path, made: impl Fn(&Path)) -> Result<()> {
    let relative = folder.strip_prefix(root).map_err(|_| {
        Error::internal(format!("{} isn't in {}", folder.display(), root.display()))
    })?;
    let mut at = root.to_path_buf();
    for part in relative.components() {
        at.push(part);
        match fs::create_dir(&at) {
            Ok(()) => {
                made(&at);
                continue;
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::name("create folder", &at, e)),
        }
        let found = fs::symlink_metadata(&at).map_err(|e| Error::name("look at", &at, e))?;
        if found.is_symlink() {
            check_link(root, &at)?;
        } else if !found.is_dir() {
            let problem = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(Error::name("create folder", &at, problem));
        }
    }
    Ok(())
}

fn check_link(root: &Path, link: &Path) -> Result<()> {
    let root = fs::canonicalize(root).map_err(|e| Error::io("look at", root, e))?;
    match fs::canonicalize(link) {
        Ok(end) if end.starts_with(&root) && end.is_dir() => Ok(()),
        _ => Err(Error::new(
            Kind::UnsafePath,
            format!(
                "{} is a link that leads out of {}; remove it, or download to where it leads",
                link.display(),
                root.display()
            ),
        )
        .with(|c| c.file = Some(link.display().to_string()))),
    }
}

/// A path that means the same wherever the process goes.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("find", path, e))
}

/// The real path of `path`, of which the last parts needn't exist yet.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf> {
    let path = absolute(path)?;
    for existing in path.ancestors() {
        match fs::canonicalize(existing) {
            Ok(real) => {
                let missing = path.strip_prefix(existing).unwrap_or(Path::new(""));
                // A join with nothing would add a slash at the end.
                return Ok(if missing.as_os_str().is_empty() { real } else { real.join(missing) });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("look at", existing, e)),
        }
    }
    Ok(path)
}

/// Eight hex digits, for the name of a temporary file.
pub(crate) fn random_hex() -> String {
    format!("{:08x}", fastrand::u32(..))
}

/// A new name beside `path`, hidden, and not one that `huggingface_hub` cleans up.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    parent(path).join(format!(".{}.tmp", random_hex()))
}

/// Whether a write reaches the disk before it gets its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// After a power cut the file may be empty; its readers take that for "not there".
    Lazy,
    /// After a power cut the file is the old one or the new one.
    Synced,
}

/// Writes a whole file in one step: readers see the old content or the new one. The folder must
/// exist. A link at `path` is replaced.
pub(crate) fn write(path: &Path, content: &[u8], durability: Durability) -> Result<()> {
    Staged::write(parent(path), content, durability)?.rename(path)
}

/// A whole file that is yet to get its name. Removed unless it gets it.
pub(crate) struct Staged {
    temporary: PathBuf,
    is_named: bool,
}

impl Staged {
    /// Writes it to `folder`, which exists.
    pub(crate) fn write(folder: &Path, content: &[u8], durability: Durability) -> Result<Self> {
        let temporary = folder.join(format!(".{}.tmp", random_hex()));
        let staged = Self { temporary, is_named: false };
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).open(&staged.temporary)?;
            file.write_all(content)?;
            Ok(file)
        })();
        let file = written.map_err(|e| Error::io("write to", folder, e))?;
        if durability == Durability::Synced {
            sync::content(&file, &staged.temporary)?;
        }
        Ok(staged)
    }

    /// Gives it the permissions of the file at `path`, if there is one.
    pub(crate) fn with_mode_of(self, path: &Path) -> Self {
        copy_mode(path, &self.temporary);
        self
    }

    /// Gives it its name, which may be on another file system: a folder may be a link. What has that name is
    /// replaced.
    pub(crate) fn rename(mut self, path: &Path) -> Result<()> {
        rename::move_file(&self.temporary, path)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_named {
            discard(&self.temporary);
        }
    }
}

/// Reads a text file of at most `most` bytes; `None` if there is none, or if what is there isn't one, which the
/// log says.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<Option<String>> {
    match small::read(path, most) {
        Ok((bytes, _)) => Ok(String::from_utf8(bytes).ok()),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) if small::is_no_file(&e) => {
            tracing::warn!(path = %path.display(), error = %e, "ignored what should be a file");
            Ok(None)
        }
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// Whether the failure means that there is no such file.
pub(crate) fn is_absent(e: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(e.kind(), NotFound | NotADirectory | IsADirectory)
}

/// Whether the failure means that links lead to each other.
pub(crate) fn is_link_loop(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::ELOOP)
}

/// The size of the regular file that `path` is, or links to; `None` if there is no such file. Reads it where it's
/// said to be empty: a file system that makes its files when they are read has no size before.
pub(crate) fn file_size(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Ok(None),
        Ok(found) if found.len() == 0 => {
            let counted = open::to_read(path).and_then(|mut file| length(&mut file));
            // One that may not be read is as empty as it's said to be.
            Ok(Some(counted.unwrap_or(0)))
        }
        Ok(found) => Ok(Some(found.len())),
        // A loop of links leads to no file either.
        Err(e) if is_absent(&e) || is_link_loop(&e) => Ok(None),
        Err(e) => Err(Error::name("look at", path, e)),
    }
}

/// How long a file is that is open at its beginning, as [`file_size`].
pub(crate) fn length(file: &mut File) -> io::Result<u64> {
    let said = file.metadata()?.len();
    if said > 0 {
        return Ok(said);
    }
    let counted = io::copy(file, &mut io::sink())?;
    if counted > 0 {
        file.rewind()?;
    }
    Ok(counted)
}

/// Removes what someone put where a file of ours is going to be, such as a link or a pipe, and leaves a real file.
pub(crate) fn remove_unless_file(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            fs::remove_file(path).map_err(|e| Error::io("remove", path, e))
        }
        _ => Ok(()),
    }
}

/// Removes a file that is no longer needed. That it stays would be litter, not a failure.
pub(crate) fn discard(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), error = %e, "can't remove a temporary file");
    }
}

/// A file that somebody may be writing: its path, size and time.
pub(crate) type Sign = (PathBuf, u64, Option<SystemTime>);

/// The files in a folder that have `part` in their names. What can't be seen is no sign.
pub(crate) fn signs(folder: &Path, part: &str) -> Vec<Sign> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = found.filter(|found| found.file_name().to_string_lossy().contains(part));
    let mut signs: Vec<Sign> = named
        .filter_map(|found| {
            let metadata = found.metadata().ok()?;
            Some((found.path(), metadata.len(), metadata.modified().ok()))
        })
        .collect();
    signs.sort();
    signs
}

/// The largest file in a folder whose name is `wanted` and ends with `ending`, not empty and not larger than
/// `most`. A folder that can't be read has none: such files only save work.
pub(crate) fn largest(
    folder: &Path,
    ending: &str,
    most: u64,
    wanted: impl Fn(&str) -> bool,
) -> Option<PathBuf> {
    let found = fs::read_dir(folder).ok()?.filter_map(|found| {
        let found = found.ok()?;
        let name = found.file_name().into_string().ok()?;
        let is_wanted = name.ends_with(ending) && wanted(&name);
        // Not followed: a link here is nobody's download.
        let metadata = is_wanted.then(|| found.metadata().ok()).flatten()?;
        let fits = metadata.is_file() && (1..=most).contains(&metadata.len());
        fits.then(|| (metadata.len(), found.path()))
    });
    found.max().map(|(_, path)| path)
}

/// The permissions that a new file in `folder` gets. Found by making one: the umask can't be asked
/// for without changing it for other threads, and the folder may have a default ACL.
pub(crate) fn default_mode(folder: &Path) -> Result<u32> {
    let probe = folder.join(format!(".{}.tmp", random_hex()));
    let mode = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|file| Ok(file.metadata()?.permissions().mode() & 0o7777))
        .map_err(|e| Error::io("write", &probe, e));
    discard(&probe);
    mode
}

/// Gives the file at `to` the permissions of the one at `from`, if there is one.
pub(crate) fn copy_mode(from: &Path, to: &Path) {
    if let Ok(there) = fs::metadata(from) {
        set_mode(to, there.permissions().mode() & 0o7777);
    }
}

/// Sets the permissions of a file. Some file systems have none; the file is usable all the same.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    if let Err(e) = fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        refused::warn_once("can't set the permissions of files", path, &e);
    }
}

/// Sets the time of a file that nobody else has yet some seconds back, so that every later write to it shows, however
/// soon, and returns the file. Where times can't be set, that can be relied on only after a while.
pub(crate) fn settle(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).never_follow_nor_wait().open(path);
    let file = opened.map_err(|e| Error::io("read", path, e))?;
    if let Err(error) = file.set_modified(identity::settled_time()) {
        tracing::debug!(path = %path.display(), %error, "can't set the time of a file");
    }
    Ok(file)
}

/// Makes a folder's `CACHEDIR.TAG` unless it's there. Nothing depends on it.
pub(crate) fn tag_as_cache(folder: &Path) {
    write_once(&folder.join("CACHEDIR.TAG"), CACHEDIR_TAG);
}

/// Makes a file that nothing depends on, unless it's there.
pub(crate) fn write_once(path: &Path, content: &str) {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    if let Err(e) = made.and_then(|mut file| file.write_all(content.as_bytes()))
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        tracing::debug!(path = %path.display(), error = %e, "can't write");
    }
}
