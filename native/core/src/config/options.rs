//! What a caller says when it makes a client. [`config`](crate::config) turns it into settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Header, Transport};

/// What a client is made with. `None` means the default: huggingface_hub's environment variables,
/// then the value named.
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
    /// Sent with each request to the Hub, and to nobody else. Not what requests have of their own.
    pub headers: Vec<Header>,
    /// Never use the network. Default `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// Limits of its calls that bring none of their own.
    pub deadlines: DeadlineOptions,
    /// Attempts per request, 1 to 20. Default 6.
    pub max_attempts: Option<u32>,
    /// Which way Xet files come. Default `XET_FFI_TRANSPORT`, else `HF_HUB_DISABLE_XET`, else with
    /// fallback.
    pub transport: Option<Transport>,
    /// The most bytes of file content per second that all calls together receive. Default: no limit.
    pub max_bytes_per_second: Option<u64>,
    /// What nodes share is there. Default `XET_FFI_SHARED_CACHE`; "none": nothing is shared.
    pub shared_cache: Option<String>,
    /// The secret of the deployment that shares it. Default `XET_FFI_SHARED_CACHE_SECRET`, else none.
    pub shared_cache_secret: Option<String>,
}

/// How long a request's stages may take. `None` means the client's value, and for a client the
/// default named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadlineOptions {
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Option<Duration>,
    /// Longest wait for the head of an answer, connecting included. Default `read_timeout`, if that
    /// is given here, else 15 s.
    pub first_byte_timeout: Option<Duration>,
    /// Longest silence in a body. Default `HF_HUB_DOWNLOAD_TIMEOUT`, else 10 s.
    pub read_timeout: Option<Duration>,
    /// Bytes per second below which a body counts as silent, once it has been that slow for half of
    /// `read_timeout`; 0: never. Default 2,048.
    pub min_speed: Option<u32>,
}
