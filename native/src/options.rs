//! What a caller says when it makes a client. [`config`](crate::config) turns it into settings.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Transport;

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
    /// Never use the network. Default `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Option<Duration>,
    /// Longest wait for the next bytes. Default 15 s.
    pub read_timeout: Option<Duration>,
    /// Attempts per request, 1 to 20. Default 6.
    pub max_attempts: Option<u32>,
    /// Which way Xet files come. Default `XET_FFI_TRANSPORT`, else `HF_HUB_DISABLE_XET`, else with
    /// fallback.
    pub transport: Option<Transport>,
}
