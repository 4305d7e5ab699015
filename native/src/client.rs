//! The blocking API that the C boundary (and a Rust program) calls: a [`Client`], its requests and its reports.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::pattern::PatternSet;
use crate::progress::Progress;
use crate::repo::{CommitId, Listing, Repo, RepoPath, Revision};

/// What a client is made with. `None` means the default: huggingface_hub's environment variables, then the value named.
#[derive(Clone, Default)]
pub struct ClientOptions {
    /// Default `HF_ENDPOINT`, else `https://huggingface.co`.
    pub endpoint: Option<String>,
    /// Default `HF_TOKEN`, else the token file.
    pub token: Option<String>,
    /// Send no token at all. Excludes `token`.
    pub anonymous: bool,
    /// Root of the Hub cache. Default `HF_HUB_CACHE`, else `$HF_HOME/hub`.
    pub cache_dir: Option<PathBuf>,
    /// Files in flight at a time, 1 to 256. Default 8.
    pub max_concurrent_downloads: Option<u32>,
    /// Prepended to the User-Agent.
    pub user_agent: Option<String>,
    /// Never use the network. Default `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Option<Duration>,
    /// Longest wait for the next bytes. Default 15 s.
    pub read_timeout: Option<Duration>,
    /// Attempts per request, 1 to 20. Default 6.
    pub max_attempts: Option<u32>,
}

/// What to list.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Of which repo.
    pub repo: Repo,
    /// At which revision.
    pub revision: Revision,
    /// Limit for the whole call.
    pub timeout: Option<Duration>,
}

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
    /// Wall time of the call.
    pub duration: Duration,
}

/// The caller's eyes and brake on a call. All methods run on the thread that made the call, at least every 50 ms while it waits.
pub trait Observer {
    /// Called at every wake-up, before anything else.
    fn tick(&mut self) {}
    /// Called at every wake-up, and once at the end of a successful call. Throttling is the observer's business.
    fn progress(&mut self, _progress: &Progress, _last: bool) {}
    /// True ends the call with [`Kind::Cancelled`](crate::error::Kind::Cancelled).
    fn cancelled(&mut self) -> bool {
        false
    }
}

/// Looks at nothing.
impl Observer for () {}

/// A connection to one Hub with one identity and one cache. All methods may be called from many threads at a time.
pub struct Client {
    _options: ClientOptions,
}

impl Client {
    /// Reads the environment, uses no network.
    pub fn new(options: ClientOptions) -> Result<Self> {
        Ok(Self { _options: options })
    }

    /// Lists the files of a repo at a revision.
    pub fn list_files(
        &self,
        _request: &ListRequest,
        _observer: &mut dyn Observer,
    ) -> Result<Listing> {
        Err(crate::error::Error::internal("not built yet"))
    }

    /// Downloads a file or a snapshot.
    pub fn download(
        &self,
        _request: &DownloadRequest,
        _observer: &mut dyn Observer,
    ) -> Result<Report> {
        Err(crate::error::Error::internal("not built yet"))
    }
}
