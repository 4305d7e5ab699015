//! What a writer sees of a fetch goes to other nodes, too: the chunks of each cell, as they came from storage.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use xet_core_structures::merklehash::MerkleHash;

use super::publication::{Captured, Publication};
use crate::tier::cells;

/// Records one attempt at a fetch.
pub(super) struct Recorder {
    publication: Arc<Publication>,
    xorb: MerkleHash,
    /// What other nodes know the fetch as.
    named: Range<u32>,
    /// The cells that the fetch is about, as other nodes call them.
    cells: Vec<Range<u32>>,
    /// The one that is being recorded.
    now: Option<Captured>,
}

/// A chunk, as a writer takes it out of a body.
pub(super) struct Seen<'a> {
    pub(super) index: u32,
    /// Where it begins in the serialised xorb.
    pub(super) offset: u64,
    /// As it came.
    pub(super) raw: &'a Bytes,
    pub(super) hash: MerkleHash,
    /// Decompressed.
    pub(super) len: u64,
    /// Where it is in the file; `None`: nowhere.
    pub(super) place: Option<u64>,
}

impl Recorder {
    /// Of a fetch of these chunks of a xorb.
    pub(super) fn new(
        publication: Arc<Publication>,
        xorb: MerkleHash,
        chunks: &Range<u32>,
    ) -> Self {
        Self { publication, xorb, named: chunks.clone(), cells: cells(chunks).collect(), now: None }
    }

    /// The next chunk came from storage.
    pub(super) fn note(&mut self, seen: &Seen<'_>) {
        let next = self.cells.partition_point(|cell| cell.end <= seen.index);
        let Some(cell) = self.cells.get(next) else { return };
        let Some(mut room) = self.publication.tier().room(seen.raw.len()) else {
            tracing::debug!(xorb = %self.xorb.hex(), chunk = seen.index, "no room to share it");
            self.now = None;
            return;
        };
        if cell.start == seen.index {
            self.now = Some(Captured {
                xorb: self.xorb,
                chunks: cell.clone(),
                offset: seen.offset,
                parts: Vec::with_capacity(cell.len()),
                seen: Vec::with_capacity(cell.len()),
                room,
                lease: self.publication.lease(&self.xorb, &self.named),
            });
        } else if let Some(now) = &mut self.now {
            std::mem::swap(&mut now.room, &mut room);
            now.room.add(room);
        }
        let Some(now) = &mut self.now else { return };
        now.parts.push(seen.raw.clone());
        now.seen.push((seen.hash, seen.len, seen.place));
        if now.parts.len() == now.chunks.len()
            && let Some(whole) = self.now.take()
        {
            self.publication.take(whole);
        }
    }

    /// The next chunk came from other nodes: they have it.
    pub(super) fn skip(&mut self) {
        self.now = None;
    }

    /// These are all chunks of the xorb: hash and length.
    pub(super) fn vouch(&self, chunks: &[(MerkleHash, u64)]) {
        self.publication.vouch(&self.xorb, chunks);
    }
}
