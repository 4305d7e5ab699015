//! What one file of a finished call took, which way it came, and how its content is known.

use std::path::PathBuf;

use crate::model::repo::is_lower_hex;

/// Which way a file's content came. The numbers are `XET_WAY_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Way {
    /// None of it over the network: it was on this machine, or the file is empty.
    #[default]
    Local = 0,
    /// From Xet storage.
    Xet = 1,
    /// From the Hub, over plain HTTP.
    Http = 2,
    /// Xet failed, and plain HTTP brought in what was missing.
    XetThenHttp = 3,
    /// From the cache that nodes share, and nothing of it from elsewhere over the network.
    Shared = 4,
}

/// The hash that the Hub published for a file's content, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedHash {
    /// SHA-1 of git's header and the content.
    GitBlob(String),
    /// SHA-256 of the content.
    Sha256(String),
    /// The Merkle hash of the content's chunks.
    Xet(String),
}

impl PublishedHash {
    /// The hash that an etag of the Hub is, and that the cache names a blob by; `None` if it is none.
    #[must_use]
    pub fn from_etag(etag: &str) -> Option<Self> {
        if is_lower_hex(etag, 64) {
            Some(Self::Sha256(etag.to_owned()))
        } else if is_lower_hex(etag, 40) {
            Some(Self::GitBlob(etag.to_owned()))
        } else {
            None
        }
    }

    /// The digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        match self {
            Self::GitBlob(digits) | Self::Sha256(digits) | Self::Xet(digits) => digits,
        }
    }
}

/// One file of a report; the fields are those of `XetFileTransfer` in `xet.h`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented once, at XetFileTransfer in xet.h")]
pub struct FileTransfer {
    pub path: String,
    pub way: Way,
    pub bytes_total: u64,
    pub bytes_network: u64,
    pub bytes_reused: u64,
    pub bytes_shared: u64,
    pub retries: u32,
    pub fallbacks: u32,
    pub local_path: PathBuf,
    pub hash: Option<PublishedHash>,
    pub verified: bool,
}

impl FileTransfer {
    /// A file that was on this machine, whole. Where it is and by which hash isn't known here.
    pub(crate) fn local(path: &str, bytes: u64) -> Self {
        Self {
            path: path.to_owned(),
            way: Way::Local,
            bytes_total: bytes,
            bytes_network: 0,
            bytes_reused: bytes,
            bytes_shared: 0,
            retries: 0,
            fallbacks: 0,
            local_path: PathBuf::new(),
            hash: None,
            verified: false,
        }
    }
}
