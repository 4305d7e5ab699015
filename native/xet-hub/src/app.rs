//! The parts of a running Hub.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use serde::Deserialize;

use crate::auth::Users;
use crate::cas::Cas;
use crate::config::Config;
use crate::faults::Faults;
use crate::limits::Limits;
use crate::line::Line;
use crate::sign::{Signer, now};
use crate::stats::{Origin, Stats};
use crate::store::Store;
use crate::store::bucket::Buckets;
use crate::store::lfs::LfsStore;
use crate::sync::lock;

/// Ports of the three origins, all on the same host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) hub: u16,
    pub(crate) cas: u16,
    pub(crate) storage: u16,
}

/// URLs, without a slash at the end, to send clients to instead of to the origins themselves: those
/// of a proxy, for example.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Announced {
    pub(crate) endpoint: Option<String>,
    pub(crate) cas: Option<String>,
    pub(crate) storage: Option<String>,
    /// Where resolve sends those who ask for the plain bytes of a large file; else `storage`.
    pub(crate) bridge: Option<String>,
}

/// Seconds that every request to an origin waits before anything else happens to it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Latency {
    pub(crate) hub: f64,
    pub(crate) cas: f64,
    pub(crate) storage: f64,
}

impl Latency {
    /// That of an origin.
    pub(crate) fn of(&self, origin: Origin) -> f64 {
        match origin {
            Origin::Hub => self.hub,
            Origin::Cas => self.cas,
            Origin::Storage => self.storage,
        }
    }
}

/// A running Hub.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) buckets: Buckets,
    pub(crate) lfs: LfsStore,
    pub(crate) cas: Cas,
    pub(crate) users: Users,
    pub(crate) signer: Signer,
    pub(crate) stats: Stats,
    pub(crate) faults: Faults,
    pub(crate) ports: OnceLock<Ports>,
    pub(crate) announced: Mutex<Announced>,
    pub(crate) latency: Mutex<Latency>,
    /// What storage sends goes out on it.
    pub(crate) line: Line,
    pub(crate) limits: Limits,
    _lock: DataLock,
}

/// The right to use a data directory, until dropped.
#[derive(Debug)]
pub(crate) struct DataLock(#[allow(dead_code, reason = "held for its lock only")] File);

impl DataLock {
    /// Locks `data`, creating it if it is missing. The kernel frees the lock of a killed process.
    pub(crate) fn acquire(data: &Path) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("can't keep data in {}: {error}", data.display()))
        };
        std::fs::create_dir_all(data).map_err(named)?;
        let path = data.join("LOCK");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(named)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is in use by another xet-hub", data.display()),
            )),
            Err(std::fs::TryLockError::Error(error)) => Err(named(error)),
        }
    }
}

impl App {
    /// Opens a data directory.
    pub(crate) async fn open(
        data: &Path,
        config: Config,
        users: Users,
        lock: DataLock,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let staging = data.join("staging");
        if staging.exists() {
            std::fs::remove_dir_all(&staging)?;
        }
        let lfs = LfsStore::open(data)?;
        Ok(Self {
            store: Store::open(data)?,
            buckets: Buckets::open(data)?,
            cas: Cas::open(data).await?,
            lfs,
            users,
            signer: Signer::open(data)?,
            stats: Stats::default(),
            faults: Faults::default(),
            ports: OnceLock::new(),
            announced: Mutex::default(),
            latency: Mutex::default(),
            line: Line::default(),
            limits: Limits::new(config.limits),
            config,
            _lock: lock,
        })
    }

    /// The URL of an origin: what is announced for it, else its own, under the host name that the
    /// client used (`host` is its `Host` header).
    pub(crate) fn url_of(&self, origin: Origin, host: &str) -> String {
        let announced = lock(&self.announced);
        let url = match origin {
            Origin::Hub => &announced.endpoint,
            Origin::Cas => &announced.cas,
            Origin::Storage => &announced.storage,
        };
        if let Some(url) = url {
            return url.clone();
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let port = self.ports.get().map_or(0, |ports| match origin {
            Origin::Hub => ports.hub,
            Origin::Cas => ports.cas,
            Origin::Storage => ports.storage,
        });
        format!("http://{name}:{port}")
    }

    /// A storage URL that `method` may use until it expires.
    pub(crate) fn signed_url(&self, host: &str, method: &str, path: &str) -> String {
        let query = self.signed_query(method, path, None);
        format!("{}{path}?{query}", self.url_of(Origin::Storage, host))
    }

    /// A storage URL from which these ranges may be read until it expires: `bytes=0-9,20-29`.
    pub(crate) fn range_url(&self, host: &str, path: &str, ranges: &str) -> String {
        let query = self.signed_query("GET", path, Some(ranges));
        format!("{}{path}?{query}", self.url_of(Origin::Storage, host))
    }

    fn signed_query(&self, method: &str, path: &str, ranges: Option<&str>) -> String {
        self.signer.url_query(method, path, ranges, now() + self.config.url_ttl)
    }

    /// A URL from which anyone may get the plain bytes of a large file until it expires.
    pub(crate) fn bridge_url(&self, host: &str, path: &str) -> String {
        let announced = lock(&self.announced).bridge.clone();
        let url = announced.unwrap_or_else(|| self.url_of(Origin::Storage, host));
        format!("{url}{path}?{}", self.signed_query("GET", path, None))
    }
}
