//! What one file of a finished call took, and which way it came.

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
    pub retries: u32,
    pub fallbacks: u32,
}

impl FileTransfer {
    /// A file that was on this machine, whole.
    pub(crate) fn local(path: &str, bytes: u64) -> Self {
        Self {
            path: path.to_owned(),
            way: Way::Local,
            bytes_total: bytes,
            bytes_network: 0,
            bytes_reused: bytes,
            retries: 0,
            fallbacks: 0,
        }
    }
}
