//! Downloads of one group that want the same content: it's fetched once. The first one brings it; the others wait, without
//! a permit, and then have it from that one's file.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;

use super::download::Queued;
use crate::call::Call;
use crate::model::error::{Error, Result};
use crate::reuse::{Index, SMALLEST};
use crate::sys::open;
use crate::upload::{Borrowed, UploadContent, xet_hash};

/// Contents that are on their way, and the downloads that wait for them.
#[derive(Default)]
pub(super) struct Twins(Mutex<HashMap<MerkleHash, VecDeque<Queued>>>);

impl Twins {
    /// Gives back what is wanted, if it's the first that wants this content; until [`next`](Self::next) finds no other
    /// one, all others wait.
    pub(super) fn first(&self, wanted: Queued) -> Option<Queued> {
        match self.waiting().entry(wanted.1.hash) {
            Entry::Vacant(place) => {
                place.insert(VecDeque::new());
                Some(wanted)
            }
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push_back(wanted);
                None
            }
        }
    }

    /// The next one that waits for this content, and hasn't been cancelled. `None`: there is none, and the content isn't
    /// on its way any more.
    pub(super) fn next(&self, hash: &MerkleHash) -> Option<Queued> {
        let mut all = self.waiting();
        let waiting = all.get_mut(hash)?;
        let next =
            std::iter::from_fn(|| waiting.pop_front()).find(|(task, _)| !task.state().has_ended());
        if next.is_none() {
            all.remove(hash);
        }
        next
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<MerkleHash, VecDeque<Queued>>> {
        // Each change leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content with this hash from the file at `path`, if that is it, and so short that the reuse index doesn't know of
/// it. Blocking.
pub(super) fn short_content(path: &Path, hash: &MerkleHash, call: &Call) -> Result<Option<Bytes>> {
    let mut content = Vec::new();
    let file = open::to_read(path).map_err(|e| Error::io("read", path, e))?;
    file.take(SMALLEST).read_to_end(&mut content).map_err(|e| Error::io("read", path, e))?;
    if Index::is_for(content.len() as u64) {
        return Ok(None);
    }
    let content = Bytes::from(content);
    let found =
        xet_hash(&UploadContent::of_memory(Borrowed::owned(content.clone())), call, |_| ())?;
    Ok((found == *hash).then_some(content))
}
