//! What a download would do, before it does it.

use crate::model::repo::{CommitId, Entry};

/// The plan of a download.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The commit that the revision stands for.
    pub commit: CommitId,
    /// In the order of the listing.
    pub files: Vec<PlannedFile>,
    /// How much the download would take on the disk.
    pub disk_need: u64,
    /// How much is free where it would be written; `None`: the system doesn't say.
    pub disk_free: Option<u64>,
    /// How many requests for files it needs: one for each that comes over plain HTTP.
    pub requests: u64,
    /// How many windows of the Hub's rate limit they need, the present one included; `None`: it hasn't said.
    pub windows: Option<u64>,
}

/// Where the bytes of a file would come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented once, at XetPlannedFile in xet.h")]
pub struct PlannedFile {
    pub path: String,
    pub bytes_total: u64,
    pub bytes_present: u64,
    pub bytes_reusable: u64,
    pub bytes_remote: u64,
}

impl PlannedFile {
    pub(crate) fn new(entry: &Entry) -> Self {
        Self {
            path: entry.path.to_string(),
            bytes_total: entry.size,
            bytes_present: 0,
            bytes_reusable: 0,
            bytes_remote: 0,
        }
    }
}

impl Plan {
    /// The sum over all files.
    pub fn sum(&self, of: impl Fn(&PlannedFile) -> u64) -> u64 {
        self.files.iter().map(of).sum()
    }
}
