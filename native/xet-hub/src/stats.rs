//! Counters that tests read to see what a client really did, from outside its process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::route::RouteClass;
use crate::sync::lock;

/// The three origins of this server: a client must not send the credentials of one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Origin {
    Hub,
    Cas,
    Storage,
}

/// What was counted since the start or the last reset.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    /// Requests per origin and kind.
    pub(crate) requests: BTreeMap<Origin, BTreeMap<RouteClass, u64>>,
    /// Requests per origin and HTTP method.
    pub(crate) methods: BTreeMap<Origin, BTreeMap<String, u64>>,
    /// Answers per status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Xorbs stored by uploads (not those that were there already).
    pub(crate) xorbs_received: u64,
    /// Bytes of those xorbs.
    pub(crate) xorb_bytes_received: u64,
    /// Shards stored by uploads.
    pub(crate) shards_received: u64,
    /// Objects uploaded over LFS.
    pub(crate) lfs_puts: u64,
    /// Bytes of those objects.
    pub(crate) lfs_bytes_received: u64,
    /// Requests to storage that carried an `Authorization` header, which none should.
    pub(crate) storage_requests_with_authorization: u64,
}

/// The server's counters.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    counts: Mutex<Counts>,
    hub_bytes: AtomicU64,
    cas_bytes: AtomicU64,
    storage_bytes: AtomicU64,
}

/// A copy of the counters.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    counts: Counts,
    /// Body bytes handed to the network, per origin.
    bytes_sent: BTreeMap<Origin, u64>,
}

impl Stats {
    /// Changes the counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    /// Counts a request.
    pub(crate) fn request(&self, origin: Origin, class: RouteClass, method: &str) {
        self.count(|counts| {
            *counts.requests.entry(origin).or_default().entry(class).or_default() += 1;
            let methods = counts.methods.entry(origin).or_default();
            *methods.entry(method.to_owned()).or_default() += 1;
        });
    }

    fn bytes(&self, origin: Origin) -> &AtomicU64 {
        match origin {
            Origin::Hub => &self.hub_bytes,
            Origin::Cas => &self.cas_bytes,
            Origin::Storage => &self.storage_bytes,
        }
    }

    /// Counts body bytes that were handed to the network.
    pub(crate) fn sent(&self, origin: Origin, bytes: usize) {
        self.bytes(origin).fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The counters now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let bytes = |origin| (origin, self.bytes(origin).load(Ordering::Relaxed));
        Snapshot {
            counts: lock(&self.counts).clone(),
            bytes_sent: [Origin::Hub, Origin::Cas, Origin::Storage].map(bytes).into(),
        }
    }

    /// Sets all counters to zero.
    pub(crate) fn reset(&self) {
        *lock(&self.counts) = Counts::default();
        for origin in [Origin::Hub, Origin::Cas, Origin::Storage] {
            self.bytes(origin).store(0, Ordering::Relaxed);
        }
    }
}
