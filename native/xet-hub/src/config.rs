//! The server's settings: built-in defaults, then the configuration file, then flags.

use std::path::Path;

use serde::Deserialize;

/// Settings of a running Hub. In a configuration file (JSON), absent fields keep their defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches, not states")]
pub(crate) struct Config {
    /// How long a Xet token lives, in seconds.
    pub(crate) token_ttl: u64,
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
    /// Whether the CAS serves version 2 of reconstructions and shard uploads (else only 1).
    pub(crate) cas_v2: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_ttl: 900,
            url_ttl: 3600,
            page_size: 1000,
            expanded_page_size: 50,
            resolve_cache_redirect: true,
            gzip: false,
            initial_gitattributes: true,
            xorb_grants: true,
            lfs_part_size: 0,
            cas_v2: true,
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
