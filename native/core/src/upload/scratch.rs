//! Where an upload keeps what it needs for a while: in the Xet cache, or where that can't be used, in the system's
//! folder for temporary files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::error::{Error, Kind, Result};
use crate::sys::{disk, refused};

/// What `in_cache` makes of the Xet cache `cache`; where that fails, what `apart` makes elsewhere. Which of the two it
/// is, is said once.
pub(super) fn open<T>(
    cache: &Path,
    in_cache: impl FnOnce(&Path) -> Result<T>,
    apart: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let error = match in_cache(cache) {
        Ok(made) => return Ok(made),
        Err(error) if error.kind() == Kind::Cancelled => return Err(error),
        Err(error) => error,
    };
    let what = "the Xet cache can't be used, so nothing is remembered of uploads; HF_XET_CACHE or HF_HOME says \
        where it can be";
    refused::warn_once(what, cache, &error);
    apart().map_err(|other| nowhere(&error, &other))
}

/// Where places can be given.
const WAYS_OUT: &str =
    "HF_XET_CACHE or HF_HOME says where the Xet cache can be, and TMPDIR where temporary files can";

/// The error for what failed in the Xet cache, and elsewhere, too.
pub(super) fn nowhere(in_cache: &Error, apart: &Error) -> Error {
    let (in_it, apart) = (in_cache.message(), apart.message());
    let message = format!("{in_it}, nor is there another place: {apart}; {WAYS_OUT}");
    let file = in_cache.context().file.clone();
    Error::new(in_cache.kind(), message).with(|c| c.file = file).caused_by(in_cache.clone())
}

/// As much of a stream may go to a file system that is memory, in bytes. What lies there counts as the process's, which
/// gets killed for it in a container.
const IN_MEMORY: u64 = 64 << 20;

/// Where temporary files outlast a restart: on a disk, where those of the system may be in memory.
const ON_DISK: &str = "/var/tmp";

/// A file for a stream, without a name, so that it's gone with whoever has it open.
pub(super) struct Scratch {
    pub(super) file: File,
    /// The folder that it's in.
    pub(super) folder: PathBuf,
    /// How many bytes it may take.
    pub(super) most: u64,
}

/// Such a file.
pub(super) fn file(cache: &Path) -> Result<Scratch> {
    let in_cache = |cache: &Path| {
        let folder = cache.join("xet-ffi").join("staging");
        fs::create_dir_all(&folder).map_err(|e| Error::io("create folder", &folder, e))?;
        file_in(&folder)
    };
    open(cache, in_cache, file_apart)
}

/// Such a file where the Xet cache isn't: on a disk, if there is one.
pub(super) fn file_apart() -> Result<Scratch> {
    let first = file_in(&std::env::temp_dir())?;
    if !disk::is_memory(&first.file) {
        return Ok(first);
    }
    match file_in(Path::new(ON_DISK)) {
        Ok(second) if !disk::is_memory(&second.file) => Ok(second),
        _ => Ok(Scratch { most: IN_MEMORY, ..first }),
    }
}

fn file_in(folder: &Path) -> Result<Scratch> {
    let file = tempfile::tempfile_in(folder).map_err(|e| stage_error(folder, e))?;
    Ok(Scratch { file, folder: folder.to_owned(), most: u64::MAX })
}

/// The error for a stream that can't be kept in `folder`.
pub(super) fn stage_error(folder: &Path, error: io::Error) -> Error {
    Error::io("stage a stream in", folder, error)
}

/// The error for a stream that would take more memory than it may in `folder`, after the Xet cache has got `full`, if
/// that was used.
pub(super) fn in_memory(folder: &Path, full: Option<&Error>) -> Error {
    let (folder, most) = (folder.display().to_string(), IN_MEMORY >> 20);
    let message = format!(
        "can't stage more than {most} MiB of a stream in {folder}, which is no disk but memory"
    );
    match full {
        Some(full) => nowhere(full, &Error::new(Kind::NoSpace, message)),
        None => Error::new(Kind::NoSpace, format!("{message}; {WAYS_OUT}"))
            .with(|c| c.file = Some(folder)),
    }
}
