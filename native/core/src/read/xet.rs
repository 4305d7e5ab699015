//! What it takes to read a file over Xet: what is proven of it, and how more is.

use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xet_core_structures::merklehash::MerkleHash;

use super::in_flight::{InFlight, landed};
use crate::call::Call;
use crate::cas::chunks::{Proofs, Proving};
use crate::cas::{Cas, LEFT_ALONE};
use crate::model::error::{Error, Result};

/// A file that comes over Xet. For many readers at a time.
pub(super) struct Xet {
    pub(super) hash: MerkleHash,
    pub(super) proofs: Proofs,
    /// What somebody proves.
    pub(super) proving: InFlight,
    /// When the CAS has told that it tells no proofs.
    has_no_route: Mutex<Option<Instant>>,
    /// When a proof couldn't be had, and why.
    failed: Mutex<Option<(Instant, Error)>>,
    pub(super) falls_back: bool,
}

impl Xet {
    pub(super) fn new(hash: MerkleHash, size: u64, falls_back: bool) -> Self {
        Self {
            hash,
            proofs: Proofs::new(hash, size),
            proving: InFlight::default(),
            has_no_route: Mutex::default(),
            failed: Mutex::default(),
            falls_back,
        }
    }

    /// Asks for the proof of these ranges, unless somebody does so already. `None`: the CAS has none. What answers weigh
    /// is added to `weight`, in bytes.
    pub(super) async fn prove<'a>(
        &'a self,
        cas: &Cas,
        wanted: &[Range<u64>],
        call: &Call,
        weight: &'a AtomicU64,
    ) -> Result<Option<Proving<'a>>> {
        loop {
            if self.has_no_route() {
                return Ok(None);
            }
            let others = self.proving.others(&self.proofs.lacking(wanted));
            if others.is_empty() {
                break;
            }
            let what = "another reader's proof of a part of a file";
            let _waiting = call.counters.waits.begin(what, Duration::ZERO);
            drop(landed(others).await);
        }
        let mut proving = Proving::begin(&self.proofs, wanted.to_vec(), weight);
        if proving.is_done() {
            return Ok(Some(proving));
        }
        // Where there is another way, not each read finds out again.
        let failed = self.failed().clone();
        if let Some((at, error)) = failed
            && self.falls_back
            && at.elapsed() < LEFT_ALONE
        {
            return Err(error);
        }
        let _claim = self.proving.claim(proving.parts());
        let asked = cas.prove(&mut proving, &call.counters).await;
        *self.failed() = match &asked {
            Err(error) if error.is_transient() => Some((Instant::now(), error.clone())),
            _ => None,
        };
        if asked? {
            return Ok(Some(proving));
        }
        // For a while nobody asks again.
        let before = self.no_route().replace(Instant::now());
        if before.is_none() {
            let file = self.hash.hex();
            tracing::warn!(%file, "the CAS tells no proofs for parts of files; what is read is taken as it comes");
        }
        Ok(None)
    }

    /// Whether the CAS has told lately that it tells no proofs.
    pub(super) fn has_no_route(&self) -> bool {
        self.no_route().is_some_and(|at| at.elapsed() < LEFT_ALONE)
    }

    fn no_route(&self) -> MutexGuard<'_, Option<Instant>> {
        self.has_no_route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Instant, Error)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
