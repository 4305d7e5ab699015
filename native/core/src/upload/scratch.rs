//! Where an upload keeps what it needs for a while: in the Xet cache, or where that can't be used, in the system's
//! folder for temporary files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::model::error::{Error, Kind, Result};
use crate::sys::refused;

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

/// The error for what failed in the Xet cache, and elsewhere, too.
pub(super) fn nowhere(in_cache: &Error, apart: &Error) -> Error {
    let message = format!(
        "{}, nor is there another place: {}; HF_XET_CACHE or HF_HOME says where the Xet cache can be, and TMPDIR where \
         temporary files can",
        in_cache.message(),
        apart.message()
    );
    let file = in_cache.context().file.clone();
    Error::new(in_cache.kind(), message).with(|c| c.file = file).caused_by(in_cache.clone())
}

/// A file for a stream, without a name, so that it's gone with whoever has it open; and the folder that it's in.
pub(super) fn file(cache: &Path) -> Result<(File, PathBuf)> {
    let in_cache = |cache: &Path| {
        let folder = cache.join("xet-ffi").join("staging");
        fs::create_dir_all(&folder).map_err(|e| Error::io("create folder", &folder, e))?;
        file_in(folder)
    };
    open(cache, in_cache, file_apart)
}

/// Such a file where the Xet cache isn't.
pub(super) fn file_apart() -> Result<(File, PathBuf)> {
    file_in(std::env::temp_dir())
}

fn file_in(folder: PathBuf) -> Result<(File, PathBuf)> {
    let made = tempfile::tempfile_in(&folder);
    made.map_err(|e| stage_error(&folder, e)).map(|file| (file, folder))
}

/// The error for a stream that can't be kept in `folder`.
pub(super) fn stage_error(folder: &Path, error: io::Error) -> Error {
    Error::io("stage a stream in", folder, error)
}
