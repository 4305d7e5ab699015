//! What a caller asks of a download, and what it gets to know at the end.

use std::path::PathBuf;
use std::time::Duration;

use crate::call::file_transfer::FileTransfer;
use crate::config::options::DeadlineOptions;
use crate::model::pattern::PatternSet;
use crate::model::repo::{CommitId, Repo, RepoPath, Revision};

/// Which files to download.
#[derive(Clone, Debug)]
pub enum Selection {
    /// One.
    File(RepoPath),
    /// All that match.
    Snapshot(PatternSet),
}

/// What to download, and where to.
#[derive(Clone, Debug)]
pub struct DownloadRequest {
    /// From which repo.
    pub repo: Repo,
    /// At which revision.
    pub revision: Revision,
    /// Which files.
    pub selection: Selection,
    /// A folder that receives real files; `None`: the cache.
    pub local_dir: Option<PathBuf>,
    /// Use no network.
    pub local_files_only: bool,
    /// Fetch again even what is present.
    pub force: bool,
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
    /// Limits of its requests.
    pub deadlines: DeadlineOptions,
}

/// What a finished download did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file, the snapshot folder, or the `local_dir`; absolute.
    pub path: PathBuf,
    /// The commit that the revision stands for.
    pub commit: CommitId,
    /// Files that the call was about.
    pub files: u32,
    /// Their content.
    pub bytes_total: u64,
    /// Received as file content, as sent.
    pub bytes_network: u64,
    /// Content that was on this machine already.
    pub bytes_reused: u64,
    /// Requests made again.
    pub retries: u32,
    /// Files fetched another way than the Hub proposed first.
    pub fallbacks: u32,
    /// Streams given up because they stalled.
    pub stalls: u32,
    /// Tokens and signed URLs fetched anew because they were refused.
    pub refreshes: u32,
    /// Ranges fetched again because the hash of a complete file was wrong.
    pub refetches: u32,
    /// Files on this machine that were to be reused and had changed, shrunk, rotted or gone.
    pub sources_dropped: u32,
    /// Received from the cache that nodes share, as stored there.
    pub bytes_shared: u64,
    /// How often that failed, or gave something that is damaged.
    pub tier_errors: u32,
    /// Wall time of the call.
    pub duration: Duration,
    /// Each file, in the order of the listing.
    pub file_transfers: Vec<FileTransfer>,
}
