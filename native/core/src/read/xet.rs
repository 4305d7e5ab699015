//! What it takes to read a file over Xet: what is proven of it, and how more is.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xet_core_structures::merklehash::MerkleHash;

use super::in_flight::{InFlight, landed};
use crate::call::Call;
use crate::cas::chunks::{Proofs, Proving};
use crate::cas::{Cas, LEFT_ALONE};
use crate::model::error::{Error, Result};

/// A content that comes over Xet. For many readers at a time.
pub(super) struct Xet {
    pub(super) hash: MerkleHash,
    pub(super) proofs: Proofs,
    /// What somebody proves.
    pub(super) proving: InFlight,
    /// Somebody was warned that there are no proofs.
    was_told: AtomicBool,
}

/// One who asks for proofs: what came of that is nobody else's, who may have other limits, and another CAS.
#[derive(Default)]
pub(super) struct Asker {
    /// What answers weighed, in bytes.
    weight: AtomicU64,
    /// When the CAS has told that it tells no proofs.
    has_no_route: Mutex<Option<Instant>>,
    /// When a proof couldn't be had, and why.
    failed: Mutex<Option<(Instant, Error)>>,
}

impl Xet {
    pub(super) fn new(hash: MerkleHash, size: u64) -> Self {
        let (proofs, proving) = (Proofs::new(hash, size), InFlight::default());
        Self { hash, proofs, proving, was_told: AtomicBool::new(false) }
    }

    /// Asks for the proof of these ranges, unless somebody does so already, whom one waits for while he doesn't stand
    /// still for longer than `patience`. `None`: the CAS has none. `may_give_up`: where a proof couldn't be had lately,
    /// that is the answer.
    pub(super) async fn prove<'a>(
        &'a self,
        cas: &Cas,
        wanted: &[Range<u64>],
        call: &Call,
        asker: &'a Asker,
        patience: Duration,
        may_give_up: bool,
    ) -> Result<Option<Proving<'a>>> {
        loop {
            let others = self.proving.others(&self.proofs.lacking(wanted));
            if others.is_empty() {
                break;
            }
            let what = "another reader's proof of a part of a file";
            let _waiting = call.counters.waits.begin(what, Duration::ZERO);
            if !landed(others, &call.counters, patience).await.1 {
                break;
            }
        }
        let mut proving = Proving::begin(&self.proofs, wanted.to_vec(), &asker.weight);
        if proving.is_done() {
            return Ok(Some(proving));
        }
        if asker.has_no_route() {
            return Ok(None);
        }
        // Where there is another way, not each read finds out again.
        let failed = asker.failed().clone();
        if let Some((at, error)) = failed
            && may_give_up
            && at.elapsed() < LEFT_ALONE
        {
            return Err(error);
        }
        let _claim = self.proving.claim(proving.parts(), false, &call.counters);
        let answered = cas.prove(&mut proving, &call.counters).await;
        *asker.failed() = match &answered {
            Err(error) if error.is_transient() => Some((Instant::now(), error.clone())),
            _ => None,
        };
        if answered? {
            return Ok(Some(proving));
        }
        // For a while it isn't asked again.
        *asker.no_route() = Some(Instant::now());
        if !self.was_told.swap(true, Ordering::Relaxed) {
            let file = self.hash.hex();
            tracing::warn!(%file, "the CAS tells no proofs for parts of files; what is read is taken as it comes");
        }
        Ok(None)
    }
}

impl Asker {
    /// Whether the CAS has told lately that it tells no proofs.
    pub(super) fn has_no_route(&self) -> bool {
        self.no_route().is_some_and(|at| at.elapsed() < LEFT_ALONE)
    }

    /// What answers weighed, in bytes.
    pub(super) fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    fn no_route(&self) -> MutexGuard<'_, Option<Instant>> {
        self.has_no_route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, Error)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
