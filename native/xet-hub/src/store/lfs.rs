//! Objects that were uploaded over LFS: whole files named by their SHA-256.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::journal::sync_dir;
use crate::git::hex;

/// The LFS objects of a data directory.
#[derive(Debug)]
pub(crate) struct LfsStore {
    dir: PathBuf,
    staging: PathBuf,
}

/// An object on its way in.
#[derive(Debug)]
pub(crate) struct Upload {
    file: NamedTempFile,
    hasher: Sha256,
    size: u64,
}

/// Why an upload wasn't stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The bytes aren't the ones that the oid promises.
    #[error("the content has another SHA-256 or size than announced")]
    Mismatch,
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether `text` can name an object: 64 lowercase hex digits, so never a path.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl LfsStore {
    /// Opens the store below `data`.
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let (dir, staging) = (data.join("lfs"), data.join("staging"));
        std::fs::create_dir_all(&dir)?;
        std::fs::create_dir_all(&staging)?;
        Ok(Self { dir, staging })
    }

    /// Where an object is or would be; `None` if `sha256` isn't a hash.
    pub(crate) fn path(&self, sha256: &str) -> Option<PathBuf> {
        is_sha256(sha256).then(|| self.dir.join(&sha256[..2]).join(sha256))
    }

    /// Length of a stored object in bytes.
    pub(crate) fn size(&self, sha256: &str) -> Option<u64> {
        Some(std::fs::metadata(self.path(sha256)?).ok()?.len())
    }

    /// Begins an upload.
    pub(crate) fn begin(&self) -> io::Result<Upload> {
        let file = NamedTempFile::new_in(&self.staging)?;
        Ok(Upload { file, hasher: Sha256::new(), size: 0 })
    }

    /// Stores an upload as the object `sha256` of `size` bytes, if it is that object.
    pub(crate) fn finish(
        &self,
        upload: Upload,
        sha256: &str,
        size: u64,
    ) -> Result<(), UploadError> {
        let found = hex(&upload.hasher.finalize());
        let path = self.path(sha256).ok_or(UploadError::Mismatch)?;
        if found != sha256 || upload.size != size {
            return Err(UploadError::Mismatch);
        }
        let dir = self.dir.join(&sha256[..2]);
        std::fs::create_dir_all(&dir)?;
        upload.file.as_file().sync_all()?;
        upload.file.persist(path).map_err(|error| error.error)?;
        sync_dir(&dir)?;
        sync_dir(&self.dir)?;
        Ok(())
    }
}

/// An object whose parts come one by one, in any order.
impl LfsStore {
    fn part_path(&self, sha256: &str, part: u64) -> Option<PathBuf> {
        is_sha256(sha256).then(|| self.staging.join(format!("{sha256}.{part}")))
    }

    /// Keeps an upload as a part of the object `sha256`, and returns its ETag.
    pub(crate) fn finish_part(
        &self,
        upload: Upload,
        sha256: &str,
        part: u64,
    ) -> Result<String, UploadError> {
        let path = self.part_path(sha256, part).ok_or(UploadError::Mismatch)?;
        let etag = hex(&upload.hasher.finalize());
        upload.file.persist(path).map_err(|error| error.error)?;
        Ok(etag)
    }

    /// Puts the parts 1, 2, ... with these `ETag`s together to the object `sha256`.
    pub(crate) fn complete(
        &self,
        sha256: &str,
        size: u64,
        etags: &[String],
    ) -> Result<(), UploadError> {
        let mut whole = self.begin()?;
        let mut paths = Vec::new();
        for (etag, part) in etags.iter().zip(1..) {
            let path = self.part_path(sha256, part).ok_or(UploadError::Mismatch)?;
            let mut hasher = Sha256::new();
            let mut file = std::fs::File::open(&path).map_err(|_| UploadError::Mismatch)?;
            let mut block = vec![0; 1 << 20];
            loop {
                let length = file.read(&mut block)?;
                if length == 0 {
                    break;
                }
                hasher.update(&block[..length]);
                whole.write(&block[..length])?;
            }
            if hex(&hasher.finalize()) != *etag {
                return Err(UploadError::Mismatch);
            }
            paths.push(path);
        }
        self.finish(whole, sha256, size)?;
        paths.iter().try_for_each(std::fs::remove_file).map_err(UploadError::Io)
    }
}

impl Upload {
    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}
