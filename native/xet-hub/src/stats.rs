//! Counters that tests read to see what a client really did, from outside its process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::app::App;
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

impl Origin {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Hub, Self::Cas, Self::Storage];
}

/// What of storage a request is about: the beginning of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoredKind {
    /// Xorbs, which clients put together themselves.
    Xorbs,
    /// Files of the CAS as plain bytes.
    Files,
    /// LFS objects.
    Lfs,
    /// Uploads of xorbs.
    Grants,
    /// Nothing that exists.
    Unknown,
}

impl StoredKind {
    /// That of a path.
    pub(crate) fn of(path: &str) -> Self {
        match path.split('/').nth(1) {
            Some("xorbs") => Self::Xorbs,
            Some("files") => Self::Files,
            Some("lfs") => Self::Lfs,
            Some("grants") => Self::Grants,
            _ => Self::Unknown,
        }
    }
}

/// What storage did with objects of a kind.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Served {
    pub(crate) requests: u64,
    /// Body bytes that were handed to the network.
    pub(crate) bytes_sent: u64,
}

/// What was counted since the start or the last reset.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    /// Requests per origin and kind.
    pub(crate) requests: BTreeMap<Origin, BTreeMap<RouteClass, u64>>,
    /// Requests per origin and HTTP method.
    pub(crate) methods: BTreeMap<Origin, BTreeMap<String, u64>>,
    /// Requests to storage, and bytes from there, by what they are about.
    pub(crate) storage: BTreeMap<StoredKind, Served>,
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
    hub: Traffic,
    cas: Traffic,
    storage: Traffic,
}

/// What goes on at an origin.
#[derive(Debug, Default)]
struct Traffic {
    bytes_sent: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
}

/// A copy of the counters.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    counts: Counts,
    /// Body bytes handed to the network, per origin.
    bytes_sent: BTreeMap<Origin, u64>,
    /// Requests that came and whose answers haven't gone out to their last byte, per origin.
    in_flight: BTreeMap<Origin, u64>,
    /// The most that were in flight at once.
    peak_in_flight: BTreeMap<Origin, u64>,
}

/// A request in flight, until dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    app: Arc<App>,
    origin: Origin,
}

impl InFlight {
    /// Counts a request until it is dropped.
    pub(crate) fn begin(app: &Arc<App>, origin: Origin) -> Self {
        let traffic = app.stats.traffic(origin);
        let now = traffic.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        traffic.peak.fetch_max(now, Ordering::Relaxed);
        Self { app: Arc::clone(app), origin }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.app.stats.traffic(self.origin).in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stats {
    /// Changes the counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut lock(&self.counts));
    }

    /// Counts a request.
    pub(crate) fn request(
        &self,
        origin: Origin,
        class: RouteClass,
        kind: Option<StoredKind>,
        method: &str,
    ) {
        self.count(|counts| {
            if let Some(kind) = kind {
                counts.storage.entry(kind).or_default().requests += 1;
            }
            *counts.requests.entry(origin).or_default().entry(class).or_default() += 1;
            let methods = counts.methods.entry(origin).or_default();
            *methods.entry(method.to_owned()).or_default() += 1;
        });
    }

    fn traffic(&self, origin: Origin) -> &Traffic {
        match origin {
            Origin::Hub => &self.hub,
            Origin::Cas => &self.cas,
            Origin::Storage => &self.storage,
        }
    }

    /// Counts body bytes that were handed to the network, and from storage what they are of.
    pub(crate) fn sent(&self, origin: Origin, kind: Option<StoredKind>, bytes: usize) {
        self.traffic(origin).bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(kind) = kind {
            self.count(|counts| {
                counts.storage.entry(kind).or_default().bytes_sent += bytes as u64;
            });
        }
    }

    /// The counters now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let of_each = |counter: fn(&Traffic) -> &AtomicU64| {
            let value = |origin| counter(self.traffic(origin)).load(Ordering::Relaxed);
            Origin::ALL.map(|origin| (origin, value(origin))).into()
        };
        Snapshot {
            counts: lock(&self.counts).clone(),
            bytes_sent: of_each(|traffic| &traffic.bytes_sent),
            in_flight: of_each(|traffic| &traffic.in_flight),
            peak_in_flight: of_each(|traffic| &traffic.peak),
        }
    }

    /// Sets all counters to zero, but for requests that are in flight.
    pub(crate) fn reset(&self) {
        *lock(&self.counts) = Counts::default();
        for traffic in Origin::ALL.map(|origin| self.traffic(origin)) {
            traffic.bytes_sent.store(0, Ordering::Relaxed);
            let in_flight = traffic.in_flight.load(Ordering::Relaxed);
            traffic.peak.store(in_flight, Ordering::Relaxed);
        }
    }
}
