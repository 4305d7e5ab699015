//! The server's settings: built-in defaults, then the configuration file, then flags.

use std::path::Path;

use serde::Deserialize;

use crate::limits::Quotas;

/// Settings of a running Hub. In a configuration file (JSON), absent fields keep their defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches, not states")]
pub(crate) struct Config {
    /// How long a Xet token lives, in seconds.
    pub(crate) token_ttl: u64,
    /// How long a Xet token is at least, in bytes.
    pub(crate) xet_token_length: usize,
    /// How long a storage URL lives, in seconds.
    pub(crate) url_ttl: u64,
    /// Entries on a page of a listing.
    pub(crate) page_size: usize,
    /// Entries on a page of a tree listing with `expand`, and of a commit listing.
    pub(crate) expanded_page_size: usize,
    /// Whether plain files are answered with a redirect to `/api/resolve-cache/`, as the real Hub
    /// does, or at once.
    pub(crate) resolve_cache_redirect: bool,
    /// Whether plain text files are compressed for clients that accept it.
    pub(crate) gzip: bool,
    /// Whether a new repository begins with the `.gitattributes` of the real Hub.
    pub(crate) initial_gitattributes: bool,
    /// Whether the CAS offers upload grants (else clients fall back to direct uploads).
    pub(crate) xorb_grants: bool,
    /// Objects larger than this many bytes are uploaded over LFS in parts of this size, by clients
    /// that can; 0: in one piece.
    pub(crate) lfs_part_size: u64,
    /// Whether the 401 for a missing repository has an `X-Error-Code`. The real Hub's has none, and
    /// official clients know what is meant by its `https` URL alone, which this Hub doesn't have.
    pub(crate) coded_401: bool,
    /// Whether the CAS serves version 2 of reconstructions and shard uploads (else only 1).
    pub(crate) cas_v2: bool,
    /// Of a larger file, in bytes, storage gives the plain bytes by range only: a GET without one is
    /// answered with 400.
    pub(crate) largest_whole: u64,
    /// A longer range of plain bytes, in bytes, is refused in the same way.
    pub(crate) longest_range: u64,
    /// How many requests and commits there may be.
    pub(crate) limits: Quotas,
}

/// What the real Hub's CDN gives in one answer at most.
const CDN_LIMIT: u64 = 50_000_000_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            token_ttl: 900,
            xet_token_length: 0,
            url_ttl: 3600,
            page_size: 1000,
            expanded_page_size: 50,
            resolve_cache_redirect: true,
            gzip: false,
            initial_gitattributes: true,
            xorb_grants: true,
            lfs_part_size: 0,
            coded_401: true,
            cas_v2: true,
            largest_whole: CDN_LIMIT,
            longest_range: CDN_LIMIT,
            limits: Quotas::default(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}
