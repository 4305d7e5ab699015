//! What was fetched of a file, on its way to other nodes: not before it's proven to be the file's.
//!
//! The Merkle tree of the file vouches for chunks while the file is being fetched ([`Proofs`]). Where the CAS doesn't
//! tell that, a xorb that came whole vouches for its own, as far as there is room to wait for that.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;

use crate::call::Call;
use crate::cas::Cas;
use crate::cas::chunks::{Proofs, Proving};
use crate::tier::{Lease, Room, Tier};

/// Publishes what is fetched of one file. For many fetches at a time.
pub(crate) struct Publication {
    tier: Arc<Tier>,
    proofs: Proofs,
    /// What nobody vouches for yet.
    waiting: Mutex<Vec<Captured>>,
    /// What this node has taken on to fetch for others, by xorb and chunks, while there is something of it that they may
    /// wait for.
    leases: Mutex<Leases>,
    /// Whose turn it is to ask for proofs.
    turn: tokio::sync::Mutex<()>,
    weight: AtomicU64,
}

type Leases = HashMap<(MerkleHash, Range<u32>), Weak<Lease>>;

/// Chunks of a xorb that came from storage: a cell, or what of it a file has a right to.
pub(super) struct Captured {
    pub(super) xorb: MerkleHash,
    pub(super) chunks: Range<u32>,
    /// Where the first begins in the serialised xorb.
    pub(super) offset: u64,
    /// Each of them, as it came.
    pub(super) parts: Vec<Bytes>,
    /// What was seen of each: its hash and length, and where it is in the file; `None`: nowhere.
    pub(super) seen: Vec<(MerkleHash, u64, Option<u64>)>,
    pub(super) room: Room,
    /// Others may wait for them.
    pub(super) lease: Option<Arc<Lease>>,
}

impl Publication {
    /// Of the file with this hash, which has `size` bytes.
    pub(crate) fn new(tier: &Arc<Tier>, hash: MerkleHash, size: u64) -> Arc<Self> {
        tier.begin_publishing();
        Arc::new(Self {
            tier: Arc::clone(tier),
            proofs: Proofs::new(hash, size),
            waiting: Mutex::default(),
            leases: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            weight: AtomicU64::default(),
        })
    }

    pub(super) fn tier(&self) -> &Arc<Tier> {
        &self.tier
    }

    /// Others may wait for these chunks of a xorb until all that comes of them is published, or given up.
    pub(super) fn lend(&self, xorb: MerkleHash, chunks: Range<u32>, lease: &Arc<Lease>) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|_, lease| lease.strong_count() > 0);
        leases.insert((xorb, chunks), Arc::downgrade(lease));
    }

    /// The lease of these chunks, if there is one.
    pub(super) fn lease(&self, xorb: &MerkleHash, chunks: &Range<u32>) -> Option<Arc<Lease>> {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.get(&(*xorb, chunks.clone()))?.upgrade()
    }

    /// Takes chunks, to be published when somebody vouches for them.
    pub(super) fn take(&self, captured: Captured) {
        self.waiting().push(captured);
        self.settle();
    }

    /// These, hash and length, are all chunks of this xorb. What came before, and was something else, isn't published.
    pub(super) fn vouch(&self, xorb: &MerkleHash, chunks: &[(MerkleHash, u64)]) {
        let is_right = |captured: &Captured| {
            let (start, end) = (captured.chunks.start as usize, captured.chunks.end as usize);
            let seen = captured.seen.iter().map(|&(hash, len, _)| (hash, len));
            captured.xorb == *xorb
                && chunks.get(start..end).is_some_and(|chunks| seen.eq(chunks.iter().copied()))
        };
        for captured in self.extract(is_right) {
            self.publish(captured);
        }
    }

    /// Asks for the proof of a part of the file, behind the back of who fetches it: nothing that he does depends on it.
    pub(super) fn prove(self: &Arc<Self>, cas: &Arc<Cas>, part: Range<u64>, call: &Call) {
        if self.proofs.lacking(std::slice::from_ref(&part)).is_empty() {
            return;
        }
        let (this, cas, call) = (Arc::clone(self), Arc::clone(cas), call.clone());
        tokio::spawn(async move {
            let cancelled = call.cancellation().clone();
            let prove = async {
                let _turn = this.turn.lock().await;
                let mut proving = Proving::begin(&this.proofs, vec![part], &this.weight);
                if let Err(error) = cas.prove(&mut proving, &call.counters).await {
                    tracing::debug!(%error, "can't prove what was fetched, so it isn't shared");
                }
            };
            tokio::select! {
                () = prove => this.settle(),
                () = cancelled.cancelled() => {}
            }
        });
    }

    /// Publishes what is proven, and forgets what is proven to be none of the file's.
    fn settle(&self) {
        let verdict = |captured: &Captured| {
            captured.seen.iter().try_fold(true, |all, (hash, len, place)| match place {
                Some(at) => match self.proofs.has(*at, *len, hash) {
                    Some(true) => Some(all),
                    Some(false) => Some(false),
                    None => None,
                },
                // Only its xorb can vouch for it.
                None => None,
            })
        };
        for captured in self.extract(|captured| verdict(captured).is_some()) {
            if verdict(&captured) == Some(true) {
                self.publish(captured);
            }
        }
    }

    fn publish(&self, captured: Captured) {
        let Captured { xorb, chunks, offset, parts, room, lease, .. } = captured;
        self.tier.publish(xorb, chunks, offset, parts, (room, lease));
    }

    fn extract(&self, is_due: impl Fn(&Captured) -> bool) -> Vec<Captured> {
        self.waiting().extract_if(.., |captured| is_due(captured)).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Captured>> {
        // Each change leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
