//! What the integration tests share: a server that answers as scripted, and a client of it.

#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(unreachable_pub, reason = "a module of each test binary, not of a crate")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

pub mod live;
pub mod script;

use std::sync::Arc;
use std::time::Duration;

use xet_ffi_core::config::options::ClientOptions;
use xet_ffi_core::config::{Config, Environment};
use xet_ffi_core::http::{Http, RetryPolicy};
use xet_ffi_core::hub::Hub;
use xet_ffi_core::model::repo::{CommitId, Entry, Repo, RepoPath, RepoType, Revision, Storage};

/// The commit that scripted Hubs have.
pub const COMMIT: &str = "1111111111111111111111111111111111111111";
/// The token of clients that are signed in.
pub const TOKEN: &str = "hf_secret";

/// The settings of a client of `endpoint` that looks at no environment, with retries that don't
/// wait long.
pub fn config(endpoint: &str, token: Option<&str>) -> Config {
    let options = ClientOptions {
        endpoint: Some(endpoint.to_owned()),
        token: token.map(str::to_owned),
        anonymous: token.is_none(),
        ..ClientOptions::default()
    };
    let environment = Environment::of([("HOME", "/nonexistent")]);
    let mut config = Config::resolve_in(&options, &environment).unwrap();
    config.deadlines.connect = Duration::from_secs(5);
    config.deadlines.first_byte = Duration::from_secs(5);
    config.deadlines.stall = Duration::from_secs(5);
    config.etag_timeout = Duration::from_secs(5);
    config
}

/// A Hub with these settings.
pub fn hub_of(config: Config) -> Hub {
    let http = Http::new(&config).unwrap();
    let retry = RetryPolicy {
        attempts: 3,
        base: Duration::from_millis(1),
        cap: Duration::from_millis(2),
        waits_out: true,
    };
    Hub::new(Arc::new(config), Arc::new(http)).with_retry(retry)
}

/// A Hub at `endpoint`, signed in.
pub fn hub(endpoint: &str) -> Hub {
    hub_of(config(endpoint, Some(TOKEN)))
}

pub fn model(id: &str) -> Repo {
    Repo::new(RepoType::Model, id).unwrap()
}

pub fn revision(text: &str) -> Revision {
    Revision::new(text).unwrap()
}

pub fn path(text: &str) -> RepoPath {
    RepoPath::new(text).unwrap()
}

pub fn commit() -> CommitId {
    CommitId::parse(COMMIT).unwrap()
}

/// A file of git's with `size` bytes.
pub fn entry(text: &str, size: u64) -> Entry {
    Entry { path: path(text), size, oid: "2".repeat(40), storage: Storage::Git }
}
